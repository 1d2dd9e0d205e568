// Package mask shows the addresses of servers without their passwords.
//
// A password with a character that an address reserves cuts the address in another place than its author meant, and what
// a parser then takes for a host, a path or a fragment is a part of the password. So an address is shown only where it
// has the one shape that leaves no doubt; of any other nothing is.
package mask

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Hidden stands for what is not shown.
const Hidden = "xxxxx"

// Address returns a redis://, rediss://, valkey://, valkeys://, unix://, postgres:// or postgresql:// address, or a DSN
// (host=h user=u), with [Hidden] for its password and for whatever is not known to be none; all of it where in doubt.
func Address(address string) string {
	shown, _ := read(address)
	return shown
}

// Free tells whether an address certainly has no password.
func Free(address string) bool {
	_, free := read(address)
	return free
}

func read(address string) (shown string, free bool) {
	switch {
	case address == "":
		return "", true
	case strings.Contains(address, "://"):
		return readURL(address)
	}
	return readDSN(address)
}

var redisSchemes = []string{"redis", "rediss", "valkey", "valkeys", "unix"}

// openNames are the parameters whose values are no secrets.
var openNames = []string{
	// Of Redis addresses.
	"addr", "master_set", "db", "dial_timeout", "write_timeout", "protocol", "client_cache", "client_name", "max_retries",
	"skip_verify",
	// Of Postgres addresses; files are named, not shown.
	"host", "port", "dbname", "database", "user", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslsni", "passfile",
	"service", "servicefile", "connect_timeout", "target_session_attrs", "application_name", "search_path", "timezone",
	"default_query_exec_mode", "statement_cache_capacity", "min_protocol_version", "max_protocol_version",
	"channel_binding", "pool_max_conns", "pool_min_conns", "pool_max_conn_lifetime", "pool_max_conn_idle_time",
}

var (
	urlHosts   = regexp.MustCompile(`^(\w[\w.-]*|\[[0-9a-fA-F:.]+\])(:\d+)?(,(\w[\w.-]*|\[[0-9a-fA-F:.]+\])(:\d+)?)*$`)
	urlUser    = regexp.MustCompile(`^[\w.~-]+$`)
	redisPath  = regexp.MustCompile(`^(/\d*)?$`)
	otherPath  = regexp.MustCompile(`^[\w./~ -]*$`)
	paramName  = regexp.MustCompile(`^[a-z_]+$`)
	paramValue = regexp.MustCompile(`^[\w.,:/~\[\]+-]*$`)
)

// readURL takes a URL apart and puts it together again from the parts it is certain of.
func readURL(address string) (shown string, free bool) {
	u, err := url.Parse(address)
	if err != nil || u.Opaque != "" || strings.Contains(address, "#") {
		return Hidden, false
	}
	ofRedis := slices.Contains(redisSchemes, u.Scheme)
	if !ofRedis && u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return Hidden, false
	}
	user, free, ok := readUser(u.User, ofRedis)
	if signs := strings.Count(address, "@"); !ok || signs != strings.Count(user, "@") {
		return Hidden, false
	}
	path := otherPath
	if ofRedis && u.Scheme != "unix" {
		path = redisPath
	}
	if !hostIsCertain(u, ofRedis) || !path.MatchString(u.Path) {
		return Hidden, false
	}
	query, queryFree, ok := readQuery(u.RawQuery)
	if !ok {
		return Hidden, false
	}
	return u.Scheme + "://" + user + u.Host + u.Path + query, free && queryFree
}

func hostIsCertain(u *url.URL, ofRedis bool) bool {
	if u.Host == "" {
		return u.Scheme == "unix" || !ofRedis // a socket, or a host among the parameters
	}
	return u.Scheme != "unix" && urlHosts.MatchString(u.Host)
}

// readUser returns the part up to the @. A lone name before a Redis is likely its password: a name alone logs nobody in.
func readUser(user *url.Userinfo, ofRedis bool) (shown string, free, ok bool) {
	if user == nil {
		return "", true, true
	}
	name := user.Username()
	_, hasPassword := user.Password()
	switch {
	case name != "" && !urlUser.MatchString(name), ofRedis && !hasPassword:
		return "", false, false
	case hasPassword:
		return name + ":" + Hidden + "@", false, true
	}
	return name + "@", true, true
}

func readQuery(raw string) (shown string, free, ok bool) {
	if raw == "" {
		return "", true, true
	}
	free = true
	var parts []string
	for part := range strings.SplitSeq(raw, "&") {
		name, escaped, found := strings.Cut(part, "=")
		value, err := url.QueryUnescape(escaped)
		if !found || err != nil || !paramName.MatchString(name) {
			return "", false, false
		}
		if slices.Contains(openNames, name) {
			if !paramValue.MatchString(value) {
				return "", false, false
			}
		} else {
			value, free = Hidden, false
		}
		parts = append(parts, name+"="+value)
	}
	return "?" + strings.Join(parts, "&"), free, true
}

// readDSN reads name=value words without quotes, escapes or spaces around the sign.
func readDSN(dsn string) (shown string, free bool) {
	free = true
	words := strings.Fields(dsn)
	for i, word := range words {
		name, value, found := strings.Cut(word, "=")
		if !found || !paramName.MatchString(name) || value == "" || strings.ContainsAny(value, `='"\`) {
			return Hidden, false
		}
		if slices.Contains(openNames, name) {
			if !paramValue.MatchString(value) {
				return Hidden, false
			}
			continue
		}
		words[i], free = name+"="+Hidden, false
	}
	return strings.Join(words, " "), free
}
