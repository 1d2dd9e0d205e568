package devstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// askTimeout bounds one command to a server of ours.
const askTimeout = 2 * time.Second

// Ask sends one command on a connection of its own and returns the reply as
// text. It serves readiness, cluster set-up and tests only, so that neither a client
// library nor redis-cli is needed; it knows no replies with several parts.
func Ask(ctx context.Context, network, address string, command ...string) (reply string, err error) {
	dialer := net.Dialer{Timeout: askTimeout}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return "", fmt.Errorf("ask redis: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return "", fmt.Errorf("ask redis: %w", err)
	}
	request := fmt.Appendf(nil, "*%d\r\n", len(command))
	for _, word := range command {
		request = fmt.Appendf(request, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := conn.Write(request); err != nil {
		return "", fmt.Errorf("ask redis: %w", err)
	}
	reply, err = readReply(bufio.NewReader(conn))
	if err != nil {
		return "", fmt.Errorf("ask redis %s: %w", command[0], err)
	}
	return reply, nil
}

func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("empty reply")
	}
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '-':
		return "", errors.New(line[1:])
	case '$':
		size, err := strconv.Atoi(line[1:])
		if err != nil || size < 0 {
			return "", fmt.Errorf("reply %q", line)
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(r, body); err != nil {
			return "", err
		}
		return string(body), nil
	}
	return "", fmt.Errorf("reply %q", line)
}
