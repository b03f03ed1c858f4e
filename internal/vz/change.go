package vz

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"nfsync.dev/nfsync/internal/nf"
)

// SaveLevel saves a level for the container's next cold start and reads it back. A
// container without a configuration is nf.ErrGone, since vzctl would create one.
//
// prlctl refuses a running container; for any other it informs the dispatcher. vzctl saves
// the level of a running one, but exits with 32 (check_setmode in libvzctl).
func (r Runtime) SaveLevel(ctx context.Context, c *nf.Container, level nf.Level) error {
	if err := r.saveLevel(ctx, c, level); err != nil {
		return fmt.Errorf("cannot save the level of container %s: %w", c.ID, err)
	}
	return nil
}

func (r Runtime) saveLevel(ctx context.Context, c *nf.Container, level nf.Level) error {
	if _, ok := level.Value().Level(); !ok {
		return fmt.Errorf("%s is not a level", level)
	}
	n := r.node()
	saved, err := n.readSaved(c)
	if err != nil || saved == level.Value() {
		return err
	}
	path, args, err := r.saveCommand(n, c, level)
	if err != nil {
		return err
	}
	failed := r.runChange(ctx, cmp.Or(r.Timeouts.Set, setTimeout), path, args...)
	saved, err = n.readSaved(c)
	switch {
	case err != nil:
		return errors.Join(failed, err)
	case saved == level.Value():
		return nil
	case failed != nil:
		return failed
	}
	return fmt.Errorf("%s %s exited with 0, but the saved level is %s", filepath.Base(path), args[0], cmp.Or(saved.Why(), saved.String()))
}

// readSaved reads the level in the container's configuration. It returns nf.ErrGone if the
// configuration does not exist or belongs to another container.
func (n *node) readSaved(c *nf.Container) (nf.Value, error) {
	if !usableCTID(c.ID) {
		return nf.Value{}, fmt.Errorf("%q is not a CTID: %w", c.ID, nf.ErrGone)
	}
	settings, err := n.conf(c.ID)
	if missing(err) {
		return nf.Value{}, fmt.Errorf("it has no configuration: %w: %w", nf.ErrGone, err)
	}
	if err != nil {
		return nf.Value{}, err
	}
	if uuid := bareUUID(settings[confUUID]); c.UUID != "" && uuid != "" && !strings.EqualFold(uuid, c.UUID) {
		return nf.Value{}, fmt.Errorf("its configuration now belongs to container %s: %w", uuid, nf.ErrGone)
	}
	return settings.over(n.global).savedLevel(), nil
}

// saveCommand returns the program that saves a level, with its arguments. It passes a UUID
// or a CTID: a name may belong to another container or virtual machine.
func (r Runtime) saveCommand(n *node, c *nf.Container, level nf.Level) (path string, args []string, err error) {
	prl, vz := n.tree.program(prlctl), n.tree.program(vzctl)
	runs := r.findInit(n, c.ID).kind == initRuns
	switch {
	case !runs && prl != "" && c.UUID != "":
		return prl, []string{"set", c.UUID, "--netfilter", level.String()}, nil
	case vz != "":
		return vz, []string{"set", c.ID, "--netfilter", level.String(), "--save"}, nil
	}
	return "", nil, n.tree.notFound(vzctl)
}

// Restart restarts a running container and returns when it runs again: as another
// instance, whatever the exit status of the program. It returns nf.ErrGone if the instance
// has ended already.
func (r Runtime) Restart(ctx context.Context, c *nf.Container) error {
	if err := r.restart(ctx, c); err != nil {
		return fmt.Errorf("cannot restart container %s: %w", c.ID, err)
	}
	return nil
}

func (r Runtime) restart(ctx context.Context, c *nf.Container) error {
	n := r.node()
	if _, err := n.readSaved(c); err != nil {
		return err
	}
	if init := r.findInit(n, c.ID); init.instance == "" || init.instance != c.Instance {
		return fmt.Errorf("the instance to restart has ended: %w", nf.ErrGone)
	}
	path := n.tree.program(vzctl)
	if path == "" {
		return n.tree.notFound(vzctl)
	}
	failed := r.runChange(ctx, cmp.Or(r.Timeouts.Restart, restartTimeout), path, "restart", c.ID)
	now := r.findInit(r.node(), c.ID)
	switch {
	case now.kind == initRuns && now.instance != c.Instance:
		return nil
	case failed != nil:
		return failed
	case now.kind == initRuns:
		return errors.New("vzctl restart exited with 0, but the container was not restarted")
	}
	return fmt.Errorf("vzctl restart exited with 0, but the container does not run: %s", now.why)
}
