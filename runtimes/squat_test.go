//go:build runtimes

package runtimes_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
)

// squatEnv lets this binary listen on an abstract socket and answer as the monitor of LXC does: the name
// of the socket, and the PID of the first process.
const squatEnv = "NFSYNC_TEST_SQUAT"

func init() {
	var name string
	var pid uint64
	if n, _ := fmt.Sscan(os.Getenv(squatEnv), &name, &pid); n != 2 {
		return
	}
	listener, err := net.Listen("unix", "@"+name)
	if err != nil {
		panic(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		_, _ = conn.Read(make([]byte, 16))
		_, _ = conn.Write(binary.NativeEndian.AppendUint64(make([]byte, 8), pid))
		_ = conn.Close()
	}
}
