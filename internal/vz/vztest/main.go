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

// socketFile is a file below the root. It has the path of the socket of the node.
const socketFile = ".vztest"

// Main runs the program that this binary was started as, by its name, and exits. It returns if
// the name is not that of a program of a node.
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

// request is the message from a program to its node, and reply that from the node.
type request struct{ Args []string }

type reply struct {
	Stdout, Stderr string
	Exit           int
	Hang           bool // do not end, and start a child
	Linger         bool // end, and leave a child
}

// runTool sends the arguments to the node, prints its reply, and returns the exit status.
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
		child, err := startChild(conn)
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

// dial connects to the node that has the program in its root.
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
			return nil, fmt.Errorf("%s is not in the root of a node", path)
		}
	}
}

// startChild starts a child that holds the program's output open until it is killed. It ends
// with the node at the latest, when the node closes the connection.
func startChild(conn *net.UnixConn) (*exec.Cmd, error) {
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
	_, err = conn.Write([]byte{0}) // both processes run
	return child, err
}
