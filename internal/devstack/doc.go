// Package devstack finds or starts the Redis and the Postgres that flashsale
// runs on during development and tests.
//
// Each of the two is chosen on its own, first match first:
//
//  1. the environment names one (REDIS_URL or REDIS_HOST, DATABASE_URL or
//     DATABASE_HOST): it is used as it is, never started, stopped or flushed;
//  2. the server's program is installed: a private child process on a unix
//     socket, gone when this process is gone, however it ends;
//  3. a Docker engine with compose answers: the services of docker-compose.yml;
//  4. otherwise an error that names the one line to type on this platform.
//
// # Files
//
// A data folder holds one folder for each private server, redis and
// postgres-<major>. Each has two locks. owner.lock is held by the process that
// runs the server; whoever finds it taken attaches to the running socket.
// server.lock is inherited by the server itself and by everything that it
// forks, so it comes free only when the last of them has ended.
package devstack
