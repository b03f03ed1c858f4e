package fleet

import (
	"errors"

	"github.com/nats-io/nats.go"
)

// IsDenied reports whether an error means that the server does not permit what was asked for: these credentials are
// for something else.
func IsDenied(err error) bool { return errors.Is(err, nats.ErrPermissionViolation) }
