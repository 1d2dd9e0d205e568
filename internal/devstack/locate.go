package devstack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Oldest releases that flashsale runs on. Valkey started at 7.2, so one number
// covers both.
const (
	minRedisMajor    = 7
	minPostgresMajor = 14
)

// Where to look when the packages of a system are too old: the install line would only bring them again.
const (
	newerRedis    = "newer packages: https://redis.io/downloads"
	newerPostgres = "newer packages: https://www.postgresql.org/download"
)

// program is an installed server: where it is and what it says it is.
type program struct {
	path    string // of the server, or for Postgres of the folder with initdb and postgres
	name    string // redis-server, valkey-server or PostgreSQL
	version string
	major   int
}

// finder looks for installed servers. Folders are glob patterns, looked
// through after PATH.
type finder struct {
	path         string
	redisDirs    []string
	postgresDirs []string
}

func systemFinder(path string) *finder {
	return &finder{
		path: path,
		redisDirs: []string{
			"/usr/bin", "/usr/local/bin", "/usr/sbin",
			"/opt/homebrew/opt/redis*/bin", "/opt/homebrew/opt/valkey*/bin",
			"/usr/local/opt/redis*/bin", "/usr/local/opt/valkey*/bin",
		},
		postgresDirs: []string{
			"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*",
			"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
			"/Applications/Postgres.app/Contents/Versions/*/bin",
		},
	}
}

// redis returns the first Redis or Valkey that is new enough; nil and the
// reasons why others were passed over when there is none.
func (f *finder) redis(ctx context.Context) (*program, []string) {
	var tooOld []string
	for _, dir := range f.dirs(f.redisDirs) {
		for _, name := range []string{"redis-server", "valkey-server"} {
			path := filepath.Join(dir, name)
			version, major := versionOf(ctx, path)
			if major == 0 {
				continue
			}
			if major < minRedisMajor {
				tooOld = append(tooOld, fmt.Sprintf("%s is %s, %d.0 or later is needed; %s", path, version, minRedisMajor, newerRedis))
				continue
			}
			return &program{path: path, name: name, version: version, major: major}, nil
		}
	}
	return nil, tooOld
}

// postgres returns every folder that holds both initdb and a postgres that is
// new enough, PATH first, then the newest.
func (f *finder) postgres(ctx context.Context) ([]program, []string) {
	var found []program
	var tooOld []string
	seen := map[string]bool{}
	for _, dir := range f.dirs(f.postgresDirs) {
		// PATH often holds links to initdb; the server belongs beside the real one.
		initdb, err := filepath.EvalSymlinks(filepath.Join(dir, "initdb"))
		if err != nil || seen[filepath.Dir(initdb)] {
			continue
		}
		bin := filepath.Dir(initdb)
		seen[bin] = true
		version, major := versionOf(ctx, filepath.Join(bin, "postgres"))
		if major >= minPostgresMajor {
			found = append(found, program{path: bin, name: "PostgreSQL", version: version, major: major})
		} else if major > 0 {
			tooOld = append(tooOld, fmt.Sprintf("%s is PostgreSQL %s, %d or later is needed; %s", bin, version, minPostgresMajor, newerPostgres))
		}
	}
	return found, tooOld
}

// dirs lists PATH, then the folders that match the patterns, newest first
// within a pattern.
func (f *finder) dirs(patterns []string) []string {
	dirs := filepath.SplitList(f.path)
	for _, pattern := range patterns {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			continue
		}
		slices.SortFunc(matches, func(a, b string) int { return lastNumber(b) - lastNumber(a) })
		dirs = append(dirs, matches...)
	}
	return dirs
}

var (
	numberPattern  = regexp.MustCompile(`\d+`)
	versionPattern = regexp.MustCompile(`(?:v=|\(PostgreSQL\) )((\d+)[.\w]*)`)
)

func lastNumber(path string) int {
	all := numberPattern.FindAllString(path, -1)
	if len(all) == 0 {
		return 0
	}
	n, err := strconv.Atoi(all[len(all)-1])
	if err != nil {
		return 0
	}
	return n
}

// versionOf asks a server program for its version; major is 0 when the program
// is missing or does not answer like one.
func versionOf(ctx context.Context, path string) (version string, major int) {
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return "", 0
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", 0
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return "", 0
	}
	major, err = strconv.Atoi(string(m[2]))
	if err != nil {
		return "", 0
	}
	return strings.TrimSpace(string(m[1])), major
}
