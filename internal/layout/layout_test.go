package layout

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	module           = "flashsale"
	maxFileLines     = 499
	maxFunctionLines = 70
)

var topFolders = []string{
	"bench", "bin", "cmd", "deploy", "docs", "engine", "httpapi", "internal", "lua", "migrations", "persist",
}

var vaguePackages = []string{"common", "helper", "helpers", "manager", "models", "util", "utils"}

// allowed lists for each top folder what it may import of ours, with what is below it. Its own packages
// go without saying.
var allowed = map[string][]string{
	"bench":      {"internal"},
	"cmd":        {"bench", "engine", "httpapi", "internal", "lua", "migrations", "persist"},
	"engine":     {"lua"},
	"httpapi":    {"engine", "internal/atonce", "internal/histogram", "internal/positive"},
	"internal":   {},
	"lua":        {},
	"migrations": {},
	"persist":    {"engine", "migrations"},
}

// allowedInTests comes on top in _test.go files: real servers.
const allowedInTests = "internal"

// forbiddenModules keep the stores out of the HTTP layer.
var forbiddenModules = map[string][]string{
	"httpapi": {"github.com/jackc/pgx", "github.com/redis/rueidis"},
}

// devtest is where real servers meet the testing package, which would bring its flags and its weight into the binary.
const devtest = "internal/devstack/devtest"

// persisttest is a ledger with processes on it, for tests of more than one package.
const persisttest = "persist/persisttest"

// forTests are folders whose files count as tests though their names do not end so.
var forTests = []string{devtest, persisttest}

// testOnly are packages for test files, and for those that are there for them.
var testOnly = []string{"testing", "github.com/stretchr/testify", "github.com/getkin/kin-openapi", "github.com/chromedp", module + "/" + devtest, module + "/" + persisttest}

// source is one Go file.
type source struct {
	path   string // from the root, with slashes
	syntax *ast.File
	files  *token.FileSet
}

func (s source) top() string {
	top, _, _ := strings.Cut(s.path, "/")
	return top
}

func (s source) isTest() bool {
	return strings.HasSuffix(s.path, "_test.go") || slices.Contains(forTests, path.Dir(s.path))
}

func (s source) line(at token.Pos) int { return s.files.Position(at).Line }

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "go.mod"))
	return dir
}

// filesOf lists our own files with that ending, from the root.
func filesOf(t *testing.T, dir, ending string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != dir && (strings.HasPrefix(name, ".") || name == "bin" || name == "node_modules") {
			return fs.SkipDir
		}
		if !entry.IsDir() && strings.HasSuffix(name, ending) {
			relative, err := filepath.Rel(dir, path)
			paths = append(paths, filepath.ToSlash(relative))
			return err
		}
		return nil
	})
	require.NoError(t, err)
	return paths
}

func sources(t *testing.T) []source {
	t.Helper()
	dir := root(t)
	var all []source
	for _, path := range filesOf(t, dir, ".go") {
		files := token.NewFileSet()
		syntax, err := parser.ParseFile(files, filepath.Join(dir, path), nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		all = append(all, source{path: path, syntax: syntax, files: files})
	}
	require.NotEmpty(t, all)
	return all
}

func TestTopFolders(t *testing.T) {
	entries, err := os.ReadDir(root(t))
	require.NoError(t, err)
	for _, entry := range entries {
		if entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			assert.Contains(t, topFolders, entry.Name(), "a new top folder is a decision: change the list here with it")
		}
	}
}

func TestImportDirections(t *testing.T) {
	for _, s := range sources(t) {
		for _, spec := range s.syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if reason := refused(s, imported); reason != "" {
				t.Errorf("%s:%d imports %s: %s", s.path, s.line(spec.Pos()), imported, reason)
			}
		}
	}
}

func refused(s source, imported string) string {
	for _, prefix := range forbiddenModules[s.top()] {
		if strings.HasPrefix(imported, prefix) {
			return s.top() + " declares the interface it needs instead"
		}
	}
	if !s.isTest() && slices.ContainsFunc(testOnly, func(p string) bool { return within(imported, p) }) {
		return "only test files may"
	}
	own, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		return ""
	}
	target, _, _ := strings.Cut(own, "/")
	list, known := allowed[s.top()]
	switch {
	case !known:
		return "no rule says what " + s.top() + " may import"
	case target == s.top(), s.isTest() && target == allowedInTests,
		slices.ContainsFunc(list, func(pkg string) bool { return within(own, pkg) }):
		return ""
	}
	return s.top() + " may import only " + strings.Join(list, ", ")
}

// within tells whether an import path is that package or one below it.
func within(imported, pkg string) bool {
	return imported == pkg || strings.HasPrefix(imported, pkg+"/")
}

func TestRefused(t *testing.T) {
	tests := []struct {
		path, imported string
		refused        bool
	}{
		{"engine/lane.go", "flashsale/lua", false},
		{"engine/lane.go", "flashsale/persist", true},
		{"engine/lane.go", "flashsale/internal/devstack", true},
		{"engine/lane_test.go", "flashsale/internal/devstack", false},
		{"engine/sub/x.go", "flashsale/engine", false},
		{"httpapi/routes.go", "github.com/redis/rueidis", true},
		{"httpapi/traffic.go", "flashsale/internal/histogram", false},
		{"httpapi/traffic.go", "flashsale/internal/devstack", true},
		{"httpapi/routes.go", "github.com/jackc/pgx/v5/pgxpool", true},
		{"persist/store.go", "github.com/jackc/pgx/v5/pgxpool", false},
		{"persist/store.go", "flashsale/lua", true},
		{"bench/load.go", "flashsale/engine", true},
		{"lua/embed.go", "embed", false},
		{"lua/embed.go", "flashsale/engine", true},
		{"stray/x.go", "flashsale/engine", true},
		{"cmd/flashsale/dev.go", "testing", true},
		{"cmd/flashsale/dev.go", "flashsale/internal/devstack", false},
		{"cmd/flashsale/dev.go", "flashsale/internal/devstack/devtest", true},
		{"cmd/flashsale/dev_test.go", "flashsale/internal/devstack/devtest", false},
		{"engine/lane_test.go", "testing", false},
		{"internal/devstack/stack.go", "testing", true},
		{"internal/devstack/stack.go", "testing/fstest", true},
		{"internal/devstack/stack.go", "flashsale/internal/devstack/devtest", true},
		{"internal/devstack/devtest/servers.go", "testing", false},
		{"persist/persisttest/process.go", "flashsale/internal/devstack/devtest", false},
		{"persist/reconcile/node_test.go", "flashsale/persist/persisttest", false},
		{"persist/store.go", "flashsale/persist/persisttest", true},
	}
	for _, test := range tests {
		t.Run(test.path+" imports "+test.imported, func(t *testing.T) {
			assert.Equal(t, test.refused, refused(source{path: test.path}, test.imported) != "")
		})
	}
}

func TestPackagesAreNamedForWhatTheyAre(t *testing.T) {
	for _, s := range sources(t) {
		name := strings.TrimSuffix(s.syntax.Name.Name, "_test")
		assert.NotContains(t, vaguePackages, name, s.path)
	}
}

func TestFilesAreShort(t *testing.T) {
	dir := root(t)
	for _, path := range append(filesOf(t, dir, ".go"), filesOf(t, dir, ".lua")...) {
		content, err := os.ReadFile(filepath.Join(dir, path))
		require.NoError(t, err)
		assert.LessOrEqual(t, bytes.Count(content, []byte("\n")), maxFileLines, path)
	}
}

func TestFunctionsAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		ast.Inspect(s.syntax, func(node ast.Node) bool {
			function, ok := node.(*ast.FuncDecl)
			if !ok {
				return true
			}
			lines := s.line(function.End()) - s.line(function.Pos()) + 1
			assert.LessOrEqual(t, lines, maxFunctionLines, "%s: func %s", s.path, function.Name.Name)
			return false
		})
	}
}

func TestTestsNeitherSkipNorSleep(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.syntax, func(node ast.Node) bool {
			call, ok := node.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			receiver, ok := call.X.(*ast.Ident)
			if !ok {
				return true
			}
			switch name := call.Sel.Name; {
			case receiver.Name == "time" && name == "Sleep" && s.isTest():
				t.Errorf("%s:%d sleeps: wait for a signal or poll with a deadline", s.path, s.line(call.Pos()))
			case slices.Contains([]string{"t", "b", "f", "tb"}, receiver.Name) && strings.HasPrefix(name, "Skip"):
				t.Errorf("%s:%d skips: a test that did not run did not pass", s.path, s.line(call.Pos()))
			}
			return true
		})
	}
}
