package runtimes

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxMessage bounds an answer, in bytes: containerd sends no larger one by default
// (DefaultMaxSendMsgSize in defaults/defaults.go). The sandboxes of 1,000 pods are about 1 MiB.
const maxMessage = 16 << 20

// grpcError is a status of gRPC that is not OK.
type grpcError struct {
	code    int
	message string
}

// grpcUnimplemented is the status of a method that the server does not have.
const grpcUnimplemented = 12

func (e grpcError) Error() string {
	if e.code == grpcUnimplemented {
		return "it does not serve CRI"
	}
	return fmt.Sprintf("it answers with the gRPC status %d: %s", e.code, e.message)
}

// callGRPC calls a method with a request and a response of one message each, of a server on a socket of
// root: a POST over HTTP/2 without TLS (doc/PROTOCOL-HTTP2.md of gRPC).
func callGRPC(ctx context.Context, socket, method string, message []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialRoot(ctx, socket) }}
	defer transport.CloseIdleConnections()
	body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+method, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	response, err := transport.RoundTrip(request)
	if err != nil {
		return nil, unanswered(ctx, err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxMessage+1))
	switch {
	case err != nil:
		return nil, unanswered(ctx, err)
	case len(answer) > maxMessage:
		return nil, fmt.Errorf("its answer is larger than %d MiB", maxMessage>>20)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", response.Status)
	}
	if err := grpcStatus(response); err != nil {
		return nil, err
	}
	return unframed(answer)
}

// unanswered is the error of a request that was not answered.
func unanswered(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s", answerTimeout)
	case errors.Is(err, unix.ECONNREFUSED):
		return errors.New("nobody listens on it: start its service")
	}
	return err
}

// grpcStatus returns the status of a response that has been read to its end: that of the trailers, or of
// the headers if there is nothing else.
func grpcStatus(response *http.Response) error {
	header := response.Trailer
	if header.Get("Grpc-Status") == "" {
		header = response.Header
	}
	code, err := strconv.Atoi(header.Get("Grpc-Status"))
	if err != nil {
		return errors.New("it answers without a gRPC status")
	}
	if code != 0 {
		return grpcError{code, fmt.Sprintf("%.200q", header.Get("Grpc-Message"))}
	}
	return nil
}

// unframed returns the message of an answer of one message: a byte that says whether it is compressed,
// its length in four bytes, the message.
func unframed(answer []byte) ([]byte, error) {
	const frame = 5
	if len(answer) < frame || answer[0] != 0 || uint64(binary.BigEndian.Uint32(answer[1:frame])) != uint64(len(answer)-frame) {
		return nil, fmt.Errorf("its answer is not one plain message: %w", io.ErrUnexpectedEOF)
	}
	return answer[frame:], nil
}
