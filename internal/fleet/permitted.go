package fleet

import (
	"errors"

	"github.com/nats-io/nats.go"
)

// IsNotPermitted reports whether an error of a Member or a Reader, or of a Link, says that the servers do not permit what was
// asked, or refuse the credentials.
func IsNotPermitted(err error) bool {
	if _, denied := errors.AsType[*deniedError](err); denied {
		return true
	}
	for _, known := range []error{nats.ErrPermissionViolation, nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
