package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// ErrOptions is what is wrapped where the load was asked for something that it can't do.
var ErrOptions = errors.New("bench options")

// Target is where a server is.
type Target struct {
	Base string // URL without a slash at the end

	addr  string // host:port
	host  string // for the header of that name, as in Base: without the zone of an IPv6 address, which is this machine's own
	path  string // of the base
	isTLS bool
}

// ParseTarget reads a URL like http://host:port, with or without a path. An error wraps [ErrOptions].
func ParseTarget(raw string) (Target, error) {
	u, err := url.Parse(raw)
	if err != nil { // without the parser's words: they repeat the address, which may have a password
		return Target{}, fmt.Errorf("%w: --target: it is not like http://host:port", ErrOptions)
	}
	if u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return Target{}, fmt.Errorf("%w: --target: %q is not like http://host:port", ErrOptions, u.Redacted())
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return Target{}, fmt.Errorf("%w: --target: %q has more than http://host:port and a path", ErrOptions, u.Redacted())
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	host := u.Host
	if _, zone, zoned := strings.Cut(u.Hostname(), "%"); zoned {
		host = strings.Replace(host, "%"+zone, "", 1)
	}
	return Target{
		Base: u.Scheme + "://" + host + path,
		addr: net.JoinHostPort(u.Hostname(), port), host: host, path: path, isTLS: u.Scheme == "https",
	}, nil
}

// Addr returns host:port, and whether TLS is spoken there.
func (t *Target) Addr() (hostPort string, isTLS bool) { return t.addr, t.isTLS }

// Dial makes a connection, its TLS handshake included, within the timeout.
func (t *Target) Dial(ctx context.Context, timeout time.Duration) (made net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if t.isTLS {
		made, err = (&tls.Dialer{}).DialContext(ctx, "tcp", t.addr)
	} else {
		made, err = (&net.Dialer{}).DialContext(ctx, "tcp", t.addr)
	}
	if late := net.Error(nil); errors.As(err, &late) && late.Timeout() { // a handshake's says context, a connection's I/O
		err = errTimeout
	}
	return made, err //nolint:wrapcheck // counted by its cause
}

// Head returns a request's first line and headers up to its length, for [AppendJSON] and [AppendEmpty]. Headers are whole
// lines without their ends, such as "Authorization: Bearer …".
func (t *Target) Head(method, path string, headers ...string) []byte {
	var b strings.Builder
	b.WriteString(method + " " + t.path + path + " HTTP/1.1\r\nHost: " + t.host + "\r\n")
	for _, line := range headers {
		b.WriteString(line + "\r\n")
	}
	return []byte(b.String())
}
