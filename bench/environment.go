package bench

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/redis/rueidis"
)

// Environment is where a run was made. What could not be found out is empty.
type Environment struct {
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	System   string `json:"system"`
	Go       string `json:"go"`
	Commit   string `json:"commit"` // of the bench
	Redis    string `json:"redis"`  // version, and how it keeps what it has
	Postgres string `json:"postgres"`
	// Apart is true where all this is of the bench's machine alone: the service may be on another. Service is what that says of
	// itself then.
	Apart   bool   `json:"apart,omitempty"`
	Service string `json:"service,omitempty"`
}

// DescribeEnvironment looks at this machine and, where their addresses are given, at the stores.
func DescribeEnvironment(ctx context.Context, commit, redisURL, databaseURL string) Environment {
	e := Environment{
		CPU: cpuModel(), Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		Commit: commit,
	}
	// A report without them is better than none.
	e.Redis, _ = describeRedis(ctx, redisURL)
	e.Postgres, _ = describePostgres(ctx, databaseURL)
	return e
}

// describeService asks the service what it is and how it is.
func (s *sale) describeService() string {
	answer, err := s.provers[0].get("/monitoring/health")
	version := answer.text("version")
	if err != nil || version == "" {
		return "not known from here"
	}
	text := "flashsale " + version + ", " + answer.text("status")
	if parts := answer.doc.GetArray("partitions"); len(parts) > 0 {
		text += ", partitions: " + strconv.Itoa(len(parts))
	}
	return text
}

func cpuModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if name, value, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func describeRedis(ctx context.Context, url string) (string, error) {
	if url == "" {
		return "", nil
	}
	option, err := rueidis.ParseURL(url)
	if err != nil {
		return "", fmt.Errorf("redis: %w", err)
	}
	option.DisableCache = true
	client, err := rueidis.NewClient(option)
	if err != nil {
		return "", fmt.Errorf("redis: %w", err)
	}
	defer client.Close()
	info, err := client.Do(ctx, client.B().Info().Section("server").Build()).ToString()
	if err != nil {
		return "", fmt.Errorf("redis: %w", err)
	}
	version := "Redis " + infoField(info, "redis_version")
	settings, err := client.Do(ctx, client.B().ConfigGet().Parameter("append*").Build()).AsStrMap()
	if err != nil { // many may not ask for settings
		return version, nil
	}
	if settings["appendonly"] != "yes" {
		return version + ", no AOF", nil
	}
	return version + ", AOF fsync " + settings["appendfsync"], nil
}

func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, found := strings.CutPrefix(line, name+":"); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func describePostgres(ctx context.Context, url string) (string, error) {
	if url == "" {
		return "", nil
	}
	db, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", fmt.Errorf("postgres: %w", err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
	var version, commit, fsync string
	err = db.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('synchronous_commit'), current_setting('fsync')`).
		Scan(&version, &commit, &fsync)
	if err != nil {
		return "", fmt.Errorf("postgres: %w", err)
	}
	return fmt.Sprintf("Postgres %s, fsync %s, synchronous_commit %s", version, fsync, commit), nil
}
