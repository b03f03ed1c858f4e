//go:build runtimes

package runtimes_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
)

// criClient calls the Container Runtime Interface (k8s.io/cri-api, runtime/v1/api.proto) as a kubelet
// does. A call of gRPC is a POST with one message behind a prefix of five bytes, and its status is in
// the trailers.
type criClient struct {
	t    testing.TB
	http http.Client
}

// newCRIClient returns a client of the runtime that listens on a socket.
func newCRIClient(t testing.TB, socket string) *criClient {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &criClient{t: t, http: http.Client{Transport: transport}}
}

// call returns the answer of a method of the runtime's service to a message.
func (c *criClient) call(method string, message []byte) ([]byte, error) {
	body := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, "http://cri/runtime.v1.RuntimeService/"+method, bytes.NewReader(append(body, message...)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("TE", "trailers")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	status, reason := response.Trailer.Get("Grpc-Status"), response.Trailer.Get("Grpc-Message")
	if status == "" { // an answer without a message has its trailers as headers
		status, reason = response.Header.Get("Grpc-Status"), response.Header.Get("Grpc-Message")
	}
	if status != "0" || len(answer) < 5 {
		reason, _ = url.PathUnescape(reason)
		return nil, fmt.Errorf("%s: status %s: %s", method, status, reason)
	}
	return answer[5:], nil
}

// must is call for a call that must succeed.
func (c *criClient) must(method string, message []byte) []byte {
	c.t.Helper()
	answer, err := c.call(method, message)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer
}

// field encodes bytes, text or a message as a field (protobuf.dev: Encoding, wire type 2).
func field(n uint64, value []byte) []byte {
	return append(binary.AppendUvarint(binary.AppendUvarint(nil, n<<3|2), uint64(len(value))), value...)
}

// text is field for a string.
func text(n uint64, value string) []byte { return field(n, []byte(value)) }

// number encodes an integer as a field (wire type 0).
func number(n, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(nil, n<<3), value)
}

// join returns a message of encoded fields.
func join(fields ...[]byte) []byte { return bytes.Join(fields, nil) }

// firstText returns the text of field 1, with which a message begins.
func firstText(message []byte) string {
	if len(message) < 2 || message[0] != 1<<3|2 {
		return ""
	}
	length, n := binary.Uvarint(message[1:])
	if n <= 0 || uint64(len(message[1+n:])) < length {
		return ""
	}
	return string(message[1+n:][:length])
}
