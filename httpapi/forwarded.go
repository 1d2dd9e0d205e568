package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"unsafe"
)

// proxies are the networks whose word about a client's address is taken.
type proxies []netip.Prefix

// maxProxies bounds what every connection and every forwarded address is compared with.
const maxProxies = 256

var errTooManyProxies = fmt.Errorf("must be at most %d addresses and networks", maxProxies)

// ParseProxies reads addresses and networks (CIDR), separated by commas.
func ParseProxies(list string) ([]netip.Prefix, error) {
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	parts := strings.Split(list, ",")
	if len(parts) > maxProxies {
		return nil, errTooManyProxies
	}
	var parsed []netip.Prefix
	for _, part := range parts {
		network, err := parseProxy(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("%q is no proxy: %w", part, err)
		}
		parsed = append(parsed, network)
	}
	return parsed, nil
}

var (
	errNoNetwork       = errors.New("it must be an address or a network, like 192.0.2.1 or 10.0.0.0/8")
	errTrustsEverybody = errors.New("this would let every client name its own address")
)

func parseProxy(text string) (netip.Prefix, error) {
	if address, ok := plainAddress([]byte(text)); ok {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	switch {
	case err != nil, network.Addr().Is4In6():
		return netip.Prefix{}, errNoNetwork
	case network.Bits() == 0:
		return netip.Prefix{}, errTrustsEverybody
	}
	return network.Masked(), nil
}

func (p proxies) trust(address netip.Addr) bool {
	for _, network := range p {
		if network.Contains(address) {
			return true
		}
	}
	return false
}

// client returns whom a request comes from: the peer, unless it is a proxy of ours. Then it is the last address in the
// lines of X-Forwarded-For that is not one of ours too, for each proxy appends whom it was spoken to by, and what stands
// before that is whatever the client liked to write. Where an entry is no address, the proxy that wrote it is the client.
// The lines are bounded with the head of the request.
func (p proxies) client(peer netip.Addr, lines [][]byte) netip.Addr {
	client := peer
	for i := len(lines) - 1; i >= 0; i-- {
		for line, more := lines[i], true; more; {
			if !p.trust(client) {
				return client
			}
			var entry []byte
			entry, line, more = cutLast(line)
			address, ok := forwardedAddress(entry)
			if !ok {
				return client
			}
			client = address
		}
	}
	return client
}

// cutLast splits a list before its last entry.
func cutLast(list []byte) (last, rest []byte, more bool) {
	comma := bytes.LastIndexByte(list, ',')
	if comma < 0 {
		return list, nil, false
	}
	return list[comma+1:], list[:comma], true
}

// forwardedAddress reads an entry of X-Forwarded-For: an address, to which some proxies append the port.
func forwardedAddress(entry []byte) (netip.Addr, bool) {
	entry = bytes.Trim(entry, " \t")
	if len(entry) == 0 {
		return netip.Addr{}, false
	}
	if entry[0] != '[' && bytes.Count(entry, []byte(":")) != 1 {
		return plainAddress(entry)
	}
	both, err := netip.ParseAddrPort(string(entry))
	return both.Addr().Unmap(), err == nil && both.Addr().Zone() == ""
}

// plainAddress reads an address without a zone, which has no meaning to another host.
func plainAddress(text []byte) (netip.Addr, bool) {
	if len(text) == 0 || bytes.IndexByte(text, '%') >= 0 {
		return netip.Addr{}, false
	}
	//nolint:gosec // G103: it saves a copy for each request; only the error would keep the text, and that is dropped
	address, err := netip.ParseAddr(unsafe.String(&text[0], len(text)))
	return address.Unmap(), err == nil
}

// peerOf returns the other end of a connection; whatever has no such address is none.
func peerOf(address net.Addr) netip.Addr {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}
