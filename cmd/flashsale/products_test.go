package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"flashsale/engine"
	"flashsale/persist"
	"flashsale/persist/sheet"
)

// ran is a program that has ended.
type ran struct {
	code             int
	output, problems string
}

// command prepares `flashsale products …` in a folder of its own, with a bare environment.
func command(t testing.TB, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"products"}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "USER=ann"}, env...)
	return cmd
}

func runProducts(t testing.TB, env []string, input string, args ...string) ran {
	t.Helper()
	cmd := command(t, env, args...)
	var output, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &output, &problems
	if err := cmd.Run(); err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError))
	}
	return ran{cmd.ProcessState.ExitCode(), output.String(), problems.String()}
}

// newMigratedStores are stores whose ledger has its schema.
func newMigratedStores(t testing.TB) *sharedStores {
	t.Helper()
	s := newStores(t)
	_, err := persist.MigrateUp(t.Context(), s.pool)
	require.NoError(t, err)
	return s
}

const productsHeader = "id,name,price,initialStock\n"

func lampsFile(n int) string {
	var b strings.Builder
	b.WriteString(productsHeader)
	for i := range n {
		fmt.Fprintf(&b, "lamp-%d,\"Lamp, no. %d\",9.90,1\n", i, i)
	}
	return b.String()
}

func TestProductsAreImportedIntoARunningService(t *testing.T) {
	s := newStores(t)
	p := start(t, nil, s.env()...)
	file := filepath.Join(t.TempDir(), "products.csv")
	require.NoError(t, os.WriteFile(file, []byte(lampsFile(2000)), 0o600))

	dry := runProducts(t, s.env(), "", "import", "--dry-run", file)
	require.Equal(t, ran{output: "2000 products, nothing is wrong; nothing was recorded\n"}, dry)
	require.Zero(t, s.count(t, `SELECT count(*) FROM products`))

	done := runProducts(t, s.env(), "", "import", "--reason=the sale", file)
	require.Zero(t, done.code, done.problems)
	require.Equal(t, "recorded in the ledger: 2000 products\nOf 2000 products: 2000 are on sale.\n", done.output)
	require.Contains(t, done.problems, "taken by a server: 2000 of 2000\n")
	for i := range 20 {
		status, a := p.order(fmt.Sprint("lamp-", i*100), "ann")
		require.Equal(t, http.StatusCreated, status, "%v", a)
	}
	require.EqualValues(t, 2000, s.count(t, `SELECT count(*) FROM stock_changes WHERE actor LIKE 'import _%' AND reason = 'the sale'`))

	again := runProducts(t, s.env(), "", "import", file)
	require.Equal(t, 1, again.code)
	require.Contains(t, again.problems, "line 2: a product with the id \"lamp-0\" exists already\n")
	require.Contains(t, again.problems, "and 1980 more\n")
	require.Contains(t, again.problems, "flashsale: nothing was imported: 2000 things are wrong\n")
}

func TestProductsAreImportedIntoTheDevelopmentStack(t *testing.T) {
	env := []string{"DATA_DIR=" + developmentFolder(t)}
	p := start(t, []string{"--dev"}, env...)
	done := runProducts(t, env, lampsFile(3), "import", "--dev", "-")
	require.Zero(t, done.code, done.problems)
	require.Contains(t, done.output, "3 are on sale")
	status, a := p.order("lamp-2", "ann")
	require.Equal(t, http.StatusCreated, status, "%v", a)
	exported := runProducts(t, env, "", "export", "--dev")
	require.Zero(t, exported.code, exported.problems)
	require.True(t, strings.HasPrefix(exported.output, "id,"), "what it says of the stack is not in the table: %s", exported.output)
	require.Contains(t, exported.problems, "stack: postgres = ")
	require.Less(t, p.interrupt(), 5*time.Second)
}

func TestWrongFilesAreRefusedWhole(t *testing.T) {
	s := newMigratedStores(t)
	require.NoError(t, persist.ImportProducts(t.Context(), s.pool, 4, []engine.NewProduct{{Product: engine.Product{ID: "old", Name: "n"}}}))
	got := runProducts(t, s.env(), productsHeader+"a,n,1,1\nold,n,1,1\nb,n,cheap,1\na,n,1,1\n", "import", "-")
	require.Equal(t, 1, got.code)
	require.Empty(t, got.output)
	require.Equal(t, `line 3: a product with the id "old" exists already
line 4: price `+engine.PriceRule+`; it is "cheap"
line 5: id "a" is that of line 2 too
flashsale: nothing was imported: 3 things are wrong
`, got.problems)
	require.EqualValues(t, 1, s.count(t, `SELECT count(*) FROM products`))

	for name, c := range map[string]struct {
		input string
		args  []string
		want  string
	}{
		"header":     {"id,name,price\n", []string{"-"}, `flashsale: -: missing column "initialStock"`},
		"no file":    {"", []string{"nowhere.csv"}, "flashsale: nowhere.csv: open nowhere.csv: no such file or directory"},
		"actor":      {"", []string{"-", "--actor=a\nb"}, "--actor: must be"},
		"reason":     {"", []string{"-", "--reason=" + strings.Repeat("x", 201)}, "--reason: must be"},
		"partitions": {"", []string{"-", "--partitions=0"}, "PARTITIONS: must be"},
	} {
		t.Run(name, func(t *testing.T) {
			got := runProducts(t, s.env(), c.input, append([]string{"import"}, c.args...)...)
			require.Equal(t, 1, got.code)
			require.Contains(t, got.problems, c.want)
		})
	}
}

func TestALedgerWithoutItsSchemaIsRefused(t *testing.T) {
	s := newStores(t)
	for _, args := range [][]string{{"import", "-"}, {"export"}} {
		got := runProducts(t, s.env(), lampsFile(1), args...)
		require.Equal(t, 1, got.code)
		require.Contains(t, got.problems, "run `flashsale migrate up` first")
		require.Empty(t, got.output)
	}
}

func TestProductsThatNoServerTakesAreRecorded(t *testing.T) {
	s := newMigratedStores(t)
	got := runProducts(t, s.env(), lampsFile(2), "import", "--wait=300ms", "--actor=ann", "-")
	require.Zero(t, got.code, got.problems)
	require.Contains(t, got.output, "0 are on sale; 2 are recorded, but no server has taken them: they are on sale when a server runs")
	require.EqualValues(t, 2, s.count(t, `SELECT count(*) FROM stock_changes WHERE actor = 'import ann'`))
	got = runProducts(t, s.env(), productsHeader+"sofa,Sofa,1,1\n", "import", "--wait=0", "-")
	require.Zero(t, got.code, got.problems)
	require.Contains(t, got.output, "on sale a moment after a server runs")
	p := start(t, nil, s.env()...)
	eventually(t, "the sofa to be on sale", func() bool {
		status, _ := p.order("sofa", "ann")
		return status == http.StatusCreated
	})
}

// TestAKilledImportLeavesNothing kills it between its two tables.
func TestAKilledImportLeavesNothing(t *testing.T) {
	s := newMigratedStores(t)
	block, err := s.pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = block.Exec(t.Context(), `LOCK TABLE stock_changes`)
	require.NoError(t, err)
	cmd := command(t, s.env(), "import", "-")
	cmd.Stdin = strings.NewReader(lampsFile(100))
	require.NoError(t, cmd.Start())
	waiting := func() (n int64) {
		require.NoError(t, block.QueryRow(t.Context(),
			`SELECT count(*) FROM pg_locks WHERE relation = 'stock_changes'::regclass AND NOT granted`).Scan(&n))
		return n
	}
	eventually(t, "the import to wait for its second table", func() bool { return waiting() == 1 })
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.NoError(t, block.Rollback(t.Context()))
	eventually(t, "its session to end", func() bool {
		return s.count(t, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`) == 0
	})
	require.Zero(t, s.count(t, `SELECT count(*) FROM products`)+s.count(t, `SELECT count(*) FROM stock_changes`))
}

func TestAnExportIsImportedIntoAnEmptySystem(t *testing.T) {
	from, to := newMigratedStores(t), newMigratedStores(t)
	const input = "id,name,price,initialStock,perUserLimit,flashSaleActive,startsAt,endsAt,holdSeconds\n" +
		"-a,\"=HYPERLINK(\"\"x\"\"), 'quoted'\",0.05,3,2,false,2030-01-01T00:00:00Z,2031-01-01T00:00:00.007Z,90\n" +
		"b,'=1,19,0,,,,,\n" + "c,漢字 🛒,10000000000,1000000000000,,TRUE,,,\n"
	require.Zero(t, runProducts(t, from.env(), input, "import", "--wait=0", "-").code)
	folder := t.TempDir()
	file := filepath.Join(folder, "products.csv")
	exported := runProducts(t, from.env(), "", "export", file)
	require.Equal(t, ran{}, exported)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "id,name,price,initialStock,perUserLimit,flashSaleActive,startsAt,endsAt,holdSeconds\n"+
		"'-a,\"'=HYPERLINK(\"\"x\"\"), 'quoted'\",0.05,3,2,false,2030-01-01T00:00:00.000Z,2031-01-01T00:00:00.007Z,90\n"+
		"b,'=1,19.00,0,0,true,,,0\n"+"c,漢字 🛒,10000000000.00,1000000000000,0,true,,,0\n", string(text))
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, left, 1, "nothing half written is left")

	require.Zero(t, runProducts(t, to.env(), "", "import", "--wait=0", file).code)
	require.Equal(t, string(text), runProducts(t, to.env(), "", "export", "-").output)
	counted := runProducts(t, to.env(), "", "export", "--stock").output
	require.Contains(t, counted, "holdSeconds,currentStock,heldStock,soldStock\n")
	require.Contains(t, counted, "\nc,漢字 🛒,10000000000.00,1000000000000,0,true,,,0,1000000000000,0,0\n")
}

func TestAFailedExportLeavesTheOldFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "products.csv")
	require.NoError(t, os.WriteFile(file, []byte("old"), 0o600))
	err := replaceFile(file, func(f *os.File) error {
		_, err := f.WriteString("half")
		require.NoError(t, err)
		return context.DeadlineExceeded
	})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	require.NoError(t, err)
	require.Equal(t, []string{file}, left)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "old", string(text))
	require.NoError(t, replaceFile(os.DevNull, func(f *os.File) error { _, err := f.WriteString("x"); return err }))
	info, err := os.Stat(os.DevNull)
	require.NoError(t, err)
	require.False(t, info.Mode().IsRegular(), "a device is written to, not replaced")
}

func TestOnlySomeProblemsArePrinted(t *testing.T) {
	problems := make([]sheet.Problem, maxProblems)
	for i := range problems {
		problems[i] = sheet.Problem{Line: maxProblems + 1 - i, Text: "wrong"}
	}
	var out bytes.Buffer
	require.ErrorIs(t, tellProblems(&out, problems), errWrongLines)
	require.Equal(t, maxProblems, strings.Count(out.String(), "\n"))
	require.True(t, strings.HasPrefix(out.String(), "line 2: wrong\nline 3: wrong\n"))
	out.Reset()
	require.ErrorIs(t, tellProblems(&out, append(problems, sheet.Problem{Line: 1, Text: "worse"})), errWrongLines)
	require.Equal(t, maxProblems+1, strings.Count(out.String(), "\n"))
	require.True(t, strings.HasPrefix(out.String(), "line 1: worse\nline 2: wrong\n"))
	require.True(t, strings.HasSuffix(out.String(), "\nand 1 more\n"))
	require.NoError(t, tellProblems(&out, nil))
}

func TestWhatIsOnSaleIsSaid(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	product := func(id string, terms engine.Terms) engine.NewProduct {
		return engine.NewProduct{Product: engine.Product{ID: id, Terms: terms}}
	}
	products := []engine.NewProduct{
		product("a", engine.Terms{Active: true}),
		product("b", engine.Terms{Active: true, StartsAt: now, EndsAt: now.Add(1)}),
		product("c", engine.Terms{Active: true, StartsAt: now.Add(1)}),
		product("d", engine.Terms{Active: true, EndsAt: now}),
		product("e", engine.Terms{}),
		product("f", engine.Terms{Active: true}),
	}
	require.Equal(t, "Of 6 products: 2 "+stateOnSale+"; 1 "+stateInactive+"; 1 "+stateNotStarted+"; 1 "+stateEnded+"; 1 "+stateUntaken+".",
		describeSale(products, []string{"f"}, now))
}
