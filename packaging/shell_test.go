//go:build packages

package packaging_test

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"nfsync.dev/nfsync/packaging/systemdtest"
)

// shell is a shell of a node that stays open, as that of a person: directories and the last exit
// code stay.
type shell struct {
	t     testing.TB
	stdin io.Writer
	out   *bufio.Reader
}

// endMark is what the shell prints after each command, before its exit code.
const endMark = "\x1e"

// openShell opens a shell in root's home directory.
func openShell(t testing.TB, n *systemdtest.Node) *shell {
	t.Helper()
	cmd := n.Command("bash", "--norc", "--noprofile")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = out.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s := &shell{t: t, stdin: stdin, out: bufio.NewReader(out)}
	s.run(`ended() { local code=$?; printf '` + endMark + `%d\n' $code; return $code; }; cd`)
	return s
}

// run runs a command and returns what it prints on both streams, and its exit code.
func (s *shell) run(command string) (string, int) {
	s.t.Helper()
	// A command gets no input: it would read the next one.
	if _, err := fmt.Fprintf(s.stdin, "eval %s </dev/null\nended\n", quoted(command)); err != nil {
		s.t.Fatal(err)
	}
	out, err := s.out.ReadString(endMark[0])
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	code, err := s.out.ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	number, err := strconv.Atoi(strings.TrimSpace(code))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSuffix(out, endMark), number
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// looks are the commands that change nothing: a person who does not yet see what the document
// shows looks again.
var looks = []string{"nfsync status", "nfsync receipts", "nfsync plan", "nfsync show", "nfsync recover", "systemctl is-active", "systemctl status", "curl", "journalctl", "cat ", "ls ", "ip netns exec web-1 sysctl -n"}

// lookTimeout is how long a person looks.
const lookTimeout = 30 * time.Second

// do does a step. Whether its exit code is shown is for the next one to say.
func (s *shell) do(n *systemdtest.Node, step step) (code int) {
	s.t.Helper()
	if step.file != "" {
		dir, _ := s.run("pwd")
		if strings.HasPrefix(step.file, "/") {
			dir = "/"
		}
		n.Write(strings.TrimSpace(dir)+"/"+step.file, step.text, 0o644)
		return 0
	}
	began := time.Now()
	out, code := s.run(step.command)
	defer func() {
		s.t.Logf("line %d: %s: exit code %d after %v\n%s", step.line, step.command, code, time.Since(began), out)
	}()
	wrong := mismatch(step.output, out)
	for deadline := time.Now().Add(lookTimeout); wrong != "" && isLook(step.command) && time.Now().Before(deadline); wrong = mismatch(step.output, out) {
		<-time.After(50 * time.Millisecond)
		out, code = s.run(step.command)
	}
	if wrong != "" || step.hidden && code != 0 {
		s.t.Errorf("line %d: %s: exit code %d: %s. It prints\n%s", step.line, step.command, code, wrong, out)
	}
	return code
}

// isLook reports whether a command changes nothing.
func isLook(command string) bool {
	for _, look := range looks {
		if strings.HasPrefix(command, look) && !strings.Contains(command, "--accept") {
			return true
		}
	}
	return false
}

// follow does all steps of a document on a node, as a reader does.
func follow(t *testing.T, n *systemdtest.Node, document string, here *strings.Replacer) {
	t.Helper()
	all := steps(t, document)
	if len(all) == 0 {
		t.Fatalf("%s says nothing to do", document)
	}
	s := openShell(t, n)
	for i, step := range all {
		step.command, step.output = here.Replace(step.command), here.Replace(step.output)
		code := s.do(n, step)
		isShown := i+1 < len(all) && all[i+1].command == "echo $?"
		if code != 0 && !isShown && !step.hidden {
			t.Errorf("line %d: %s: exit code %d, and the document does not show it (echo $?)", step.line, step.command, code)
		}
		if t.Failed() {
			t.FailNow() // what follows builds on it
		}
	}
}
