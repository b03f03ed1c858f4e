package vztest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// socketFile names, below the root, the socket of the node that the programs
// there belong to.
const socketFile = ".vztest"

// Main becomes the program that this binary was started as, if it was started
// as one of a node, and does not return then.
func Main() {
	if _, known := tools[filepath.Base(os.Args[0])]; !known {
		return
	}
	code, err := runTool(os.Args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vztest:", err)
		code = 255
	}
	syscall.Exit(code) // at once: os.Exit waits a second for the race detector
}

// request is what a program tells its node, and reply what the node answers.
type request struct{ Args []string }

type reply struct {
	Stdout, Stderr string
	Exit           int
	Hang           bool // with a child of its own, until somebody ends both
	Linger         bool // ends, without such a child
}

func runTool(args []string) (int, error) {
	conn, err := dial(args[0])
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	if err := json.NewEncoder(conn).Encode(request{args}); err != nil {
		return 0, err
	}
	var r reply
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		return 0, err
	}
	if r.Hang || r.Linger {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		child, err := bear(conn)
		if err != nil {
			return 0, err
		}
		if r.Hang {
			return 0, child.Wait()
		}
	}
	_, outErr := io.WriteString(os.Stdout, r.Stdout)
	_, errErr := io.WriteString(os.Stderr, r.Stderr)
	return r.Exit, errors.Join(outErr, errErr)
}

// dial connects to the node in whose root the program lies.
func dial(program string) (*net.UnixConn, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, err
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		socket, err := os.ReadFile(filepath.Join(dir, socketFile))
		if err == nil {
			return net.DialUnix("unix", nil, &net.UnixAddr{Name: strings.TrimSpace(string(socket)), Net: "unix"})
		}
		if dir == filepath.Dir(dir) || dir == "." {
			return nil, fmt.Errorf("%s lies in no node's root", path)
		}
	}
}

// bear starts a child that holds the program's output and does nothing until it
// is killed, as of programs that have started others. It ends with the node at
// the latest, when the other end of the connection is closed.
func bear(conn *net.UnixConn) (*exec.Cmd, error) {
	file, err := conn.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	child := exec.CommandContext(context.Background(), "/bin/cat")
	child.Stdin, child.Stdout, child.Stderr = file, os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		return nil, err
	}
	_, err = conn.Write([]byte{0}) // says that both are there
	return child, err
}
