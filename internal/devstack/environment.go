package devstack

import (
	"net"
	"net/url"

	"flashsale/internal/mask"
)

// redisFromEnvironment is the Redis that the environment names; ok is false
// when it names none.
func redisFromEnvironment(getenv func(string) string) (svc service, ok bool) {
	if address := getenv("REDIS_URL"); address != "" {
		return service{url: address, name: "REDIS_URL (" + mask.Address(address) + ")"}, true
	}
	host, port, password := getenv("REDIS_HOST"), getenv("REDIS_PORT"), getenv("REDIS_PASSWORD")
	if host+port+password == "" {
		return service{}, false
	}
	address := url.URL{Scheme: "redis", Host: net.JoinHostPort(or(host, "localhost"), or(port, "6379"))}
	if password != "" {
		address.User = url.UserPassword("", password)
	}
	return service{url: address.String(), name: "REDIS_HOST (" + mask.Address(address.String()) + ")"}, true
}

// postgresFromEnvironment is the Postgres that the environment names; ok is
// false when it names none.
func postgresFromEnvironment(getenv func(string) string) (svc service, ok bool) {
	if address := getenv("DATABASE_URL"); address != "" {
		return service{
			url: address, name: "DATABASE_URL (" + mask.Address(address) + ")", psql: `psql "$DATABASE_URL"`,
		}, true
	}
	host, port := getenv("DATABASE_HOST"), getenv("DATABASE_PORT")
	name, password, database := getenv("DATABASE_USERNAME"), getenv("DATABASE_PASSWORD"), getenv("DATABASE_NAME")
	if host+port+name+password+database == "" {
		return service{}, false
	}
	address := url.URL{
		Scheme: "postgres",
		Host:   net.JoinHostPort(or(host, "localhost"), or(port, "5432")),
		Path:   "/" + or(database, DatabaseName),
		User:   url.User(or(name, "postgres")),
	}
	psql := "psql '" + address.String() + "'"
	if password != "" {
		address.User = url.UserPassword(or(name, "postgres"), password)
		psql = `PGPASSWORD="$DATABASE_PASSWORD" ` + psql
	}
	return service{url: address.String(), name: "DATABASE_HOST (" + mask.Address(address.String()) + ")", psql: psql}, true
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
