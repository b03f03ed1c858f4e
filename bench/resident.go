package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"nfsync.dev/nfsync/bench/bare"
)

// resident is a running process that looks at the namespaces again when it is asked (bare.Serve).
type resident struct {
	cmd  *exec.Cmd
	ask  io.WriteCloser
	said *json.Decoder
}

// startResident starts a resident, and waits until it has looked once.
func (b *bench) startResident(c command) (*resident, error) {
	cmd := b.command(c)
	ask, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	said, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	r := &resident{cmd: cmd, ask: ask, said: json.NewDecoder(said)}
	cmd.SysProcAttr.Pdeathsig = 0 // it ends with its standard input
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := r.answer(); err != nil {
		return nil, errors.Join(err, r.end())
	}
	return r, nil
}

func (r *resident) answer() (sample, error) {
	var o bare.Own
	if err := r.said.Decode(&o); err != nil {
		return sample{}, fmt.Errorf("a resident process has ended: %w", err)
	}
	return sample{wall: o.Wall, cpu: o.CPU}, nil
}

// check makes it look again.
func (r *resident) check() (result, error) {
	if _, err := io.WriteString(r.ask, "\n"); err != nil {
		return result{}, err
	}
	s, err := r.answer()
	if err != nil {
		return result{}, err
	}
	s.peak, err = peakMemory(strconv.Itoa(r.cmd.Process.Pid))
	return result{whole: s}, err
}

// end ends it.
func (r *resident) end() error {
	_ = r.ask.Close()
	return r.cmd.Wait()
}
