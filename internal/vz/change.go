package vz

import (
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
// the level of a running one, and still exits with 32 (check_setmode in libvzctl).
func (r Runtime) SaveLevel(ctx context.Context, c *nf.Container, level nf.Level) error {
	if err := r.saveLevel(ctx, c, level); err != nil {
		return fmt.Errorf("cannot save the level of container %s: %w", c.ID, err)
	}
	return nil
}

func (r Runtime) saveLevel(ctx context.Context, c *nf.Container, level nf.Level) error {
	if _, ok := level.Value().Level(); !ok {
		return fmt.Errorf("%s is no level", level)
	}
	n := r.node()
	saved, err := n.saved(c)
	if err != nil || saved == level.Value() {
		return err
	}
	path, args, err := r.saver(n, c, level)
	if err != nil {
		return err
	}
	_, failed := run(ctx, orDefault(r.Timeouts.Set, setTimeout), path, args...)
	saved, err = n.saved(c)
	switch {
	case err != nil:
		return errors.Join(failed, err)
	case saved == level.Value():
		return nil
	case failed != nil:
		return failed
	}
	return fmt.Errorf("%s %s exited with 0, and the saved level is %s", filepath.Base(path), args[0], describe(saved))
}

func describe(v nf.Value) string {
	if v.IsUnknown() {
		return v.Why()
	}
	return v.String()
}

// saved returns the level in the container's configuration.
func (n *node) saved(c *nf.Container) (nf.Value, error) {
	if !usableCTID(c.ID) {
		return nf.Value{}, fmt.Errorf("%q is no CTID: %w", c.ID, nf.ErrGone)
	}
	settings, err := n.conf(c.ID)
	if missing(err) {
		return nf.Value{}, fmt.Errorf("it has no configuration: %w: %w", nf.ErrGone, err)
	}
	if err != nil {
		return nf.Value{}, err
	}
	if uuid := bareUUID(settings[confUUID]); c.UUID != "" && uuid != "" && !strings.EqualFold(uuid, c.UUID) {
		return nf.Value{}, fmt.Errorf("its configuration is that of %s now: %w", uuid, nf.ErrGone)
	}
	return settings.over(n.global).savedLevel(), nil
}

// saver returns the program that saves a level, with its arguments. prlctl also accepts a
// name instead of a UUID, which another container or virtual machine may have.
func (r Runtime) saver(n *node, c *nf.Container, level nf.Level) (path string, args []string, err error) {
	prl, vz := n.tree.program(prlctl), n.tree.program(vzctl)
	runs := r.life(n, c.ID).kind == lifeOn
	switch {
	case !runs && prl != "" && c.UUID != "":
		return prl, []string{"set", c.UUID, "--netfilter", level.String()}, nil
	case vz != "":
		return vz, []string{"set", c.ID, "--netfilter", level.String(), "--save"}, nil
	}
	return "", nil, n.tree.lacks(vzctl)
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
	if _, err := n.saved(c); err != nil {
		return err
	}
	if l := r.life(n, c.ID); l.instance == "" || l.instance != c.Instance {
		return fmt.Errorf("it does not run as the instance that is to end: %w", nf.ErrGone)
	}
	path := n.tree.program(vzctl)
	if path == "" {
		return n.tree.lacks(vzctl)
	}
	_, failed := run(ctx, orDefault(r.Timeouts.Restart, restartTimeout), path, "restart", c.ID)
	now := r.life(r.node(), c.ID)
	switch {
	case now.kind == lifeOn && now.instance != c.Instance:
		return nil
	case failed != nil:
		return failed
	case now.kind == lifeOn:
		return errors.New("vzctl restart exited with 0, and the container was not restarted")
	}
	return fmt.Errorf("vzctl restart exited with 0, and it does not run: %s", now.why)
}
