// Package bare does what nfsync does with sysctls and nothing else: it is the floor under nfsync's
// times. It shares no code with nfsync.
package bare

import (
	"bufio"
	"encoding/json"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// Own is what a process measures of itself, without its start.
type Own struct {
	Wall time.Duration
	CPU  time.Duration // user and system
}

// Timed returns what f takes.
func Timed(f func() error) (Own, error) {
	before, began := processTime(), time.Now()
	err := f()
	return Own{Wall: time.Since(began), CPU: processTime() - before}, err
}

func processTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // fails for invalid arguments only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Serve prints an empty Own, and for each line of in does it all again and prints what that has
// taken, until in ends.
func Serve(again func() error, in io.Reader, out io.Writer) error {
	to := json.NewEncoder(out)
	if err := to.Encode(Own{}); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		o, err := Timed(again)
		if err != nil {
			return err
		}
		if err := to.Encode(o); err != nil {
			return err
		}
	}
	return lines.Err()
}
