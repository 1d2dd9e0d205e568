// Package load sends requests to an HTTP server as fast as it takes them, or on a schedule, and measures the answers. It
// knows nothing of what it loads: a [Script] makes the requests and judges the answers; [Orders] is the one for POST /orders.
//
// In a closed loop ([Plan.Rate] 0) each connection sends its next request when it has its answer: that finds the peak rate.
// In an open loop visits begin on a fixed schedule whatever the server does, and a latency counts from the intended start:
// what a request waited because the server was slow before is part of it. How late visits were begun, and how many were
// given up because they were too late, is reported apart.
package load
