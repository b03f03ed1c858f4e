package fleet

import "errors"

// ErrNone means that the store has no such document. It never means that a node may go on.
var ErrNone = errors.New("the fleet's store has none")

// ErrNoCoordinator means that no coordinator answers.
var ErrNoCoordinator = errors.New("no coordinator answers")

// UnreachableError means that the store did not answer.
type UnreachableError struct{ Err error }

func (e *UnreachableError) Error() string { return "the fleet cannot be reached: " + e.Err.Error() }

// Unwrap returns why.
func (e *UnreachableError) Unwrap() error { return e.Err }

// ForgedError means that a document is not the coordinator's: its signature, its channel or its form is wrong.
type ForgedError struct{ Err error }

func (e *ForgedError) Error() string { return "not the coordinator's: " + e.Err.Error() }

// Unwrap returns why.
func (e *ForgedError) Unwrap() error { return e.Err }

// RefusedError means that the store has refused a value.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return "the fleet's store refuses it: " + e.Err.Error() }

// Unwrap returns why.
func (e *RefusedError) Unwrap() error { return e.Err }
