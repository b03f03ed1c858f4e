package kernel

import (
	"context"
	"errors"
)

// LoadModule loads exactly the named module.
func (fs FS) LoadModule(ctx context.Context, name string, params map[string]string) error {
	return errors.New("cannot load modules yet")
}

// UnloadModule unloads exactly the named module.
func (fs FS) UnloadModule(name string) error { return errors.New("cannot unload modules yet") }

// SetParameter writes a parameter of a loaded or built-in module.
func (fs FS) SetParameter(module, name, value string) error {
	return errors.New("cannot set parameters yet")
}
