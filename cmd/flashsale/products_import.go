package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"flashsale/engine"
	"flashsale/persist"
	"flashsale/persist/sheet"
)

type productsImport struct {
	stores

	File   string        `arg:"" help:"CSV file with a header line; - is standard input."`
	DryRun bool          `help:"Check only: record nothing."`
	Wait   time.Duration `help:"How long to wait for a server to take the products; 0 = not at all." default:"60s"`
	Actor  string        `help:"Who does this, for the audit. Default: the user of the operating system." placeholder:"NAME"`
	Reason string        `help:"Why, for the audit." placeholder:"TEXT"`
}

// Run checks every line and then records all products in one transaction.
func (p *productsImport) Run(ctx context.Context) error {
	if err := errors.Join(p.checkPartitions(), p.checkAudit()); err != nil {
		return err
	}
	rows, problems, err := p.read()
	if err != nil {
		return fmt.Errorf("%s: %w", p.File, err)
	}
	return p.withSchema(ctx, func(pool *pgxpool.Pool) error {
		existing, err := existingProducts(ctx, pool, rows)
		if err != nil {
			return err
		}
		if err := tellProblems(os.Stderr, slices.Concat(problems, existing)); err != nil {
			return err
		}
		return p.record(ctx, pool, rows)
	})
}

// maxActor bounds the name of who imports, in characters.
const maxActor = 100

var (
	errActor  = fmt.Errorf("--actor: must be at most %d characters without control characters", maxActor)
	errReason = fmt.Errorf("--reason: must be at most %d characters without control characters", engine.MaxReason)
)

func (p *productsImport) checkAudit() error {
	switch {
	case !engine.ValidText(p.Actor, 0, maxActor):
		return errActor
	case !engine.ValidText(p.Reason, 0, engine.MaxReason):
		return errReason
	}
	return nil
}

func (p *productsImport) read() ([]sheet.Row, []sheet.Problem, error) {
	if p.File == standardStream {
		return sheet.Read(os.Stdin)
	}
	file, err := os.Open(p.File)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	return sheet.Read(file)
}

// existingProducts finds the lines whose product is there already.
func existingProducts(ctx context.Context, pool *pgxpool.Pool, rows []sheet.Row) ([]sheet.Problem, error) {
	lines, ids := make(map[string]int, len(rows)), make([]string, 0, len(rows))
	for i := range rows {
		id := rows[i].Product.ID
		lines[id], ids = rows[i].Line, append(ids, id)
	}
	existing, err := persist.ExistingProducts(ctx, pool, ids)
	problems := make([]sheet.Problem, 0, len(existing))
	for _, id := range existing {
		problems = append(problems, sheet.Problem{Line: lines[id], Text: fmt.Sprintf("a product with the id %q exists already", id)})
	}
	return problems, err
}

// maxProblems is how many of a file's problems are printed.
const maxProblems = 20

var errWrongLines = errors.New("nothing was imported")

// tellProblems prints what is wrong, by line, and fails if anything is.
func tellProblems(out io.Writer, problems []sheet.Problem) error {
	if len(problems) == 0 {
		return nil
	}
	slices.SortStableFunc(problems, func(a, b sheet.Problem) int { return cmp.Compare(a.Line, b.Line) })
	for _, problem := range problems[:min(len(problems), maxProblems)] {
		say(out, "line %d: %s\n", problem.Line, problem.Text)
	}
	if more := len(problems) - maxProblems; more > 0 {
		say(out, "and %d more\n", more)
	}
	return fmt.Errorf("%w: %d things are wrong", errWrongLines, len(problems))
}

// say prints for a person. What can't be printed is not worth an error: the outcome does not hang on it.
func say(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }

// record imports what was found good, and waits for a server to take it.
func (p *productsImport) record(ctx context.Context, pool *pgxpool.Pool, rows []sheet.Row) error {
	if p.DryRun || len(rows) == 0 {
		say(os.Stdout, "%s, nothing is wrong; nothing was recorded\n", countText(len(rows), "product"))
		return nil
	}
	products, actor := make([]engine.NewProduct, len(rows)), p.actor()
	for i := range rows {
		products[i] = engine.NewProduct{Product: rows[i].Product, Actor: actor, Reason: p.Reason}
	}
	if err := persist.ImportProducts(ctx, pool, p.Partitions, products); err != nil {
		return explainImport(err)
	}
	say(os.Stdout, "recorded in the ledger: %s\n", countText(len(products), "product"))
	return awaitTaken(ctx, pool, products, p.Wait)
}

var errImportUnknown = errors.New("all products may be recorded, or none: import the file again; if they are, every line says so")

func explainImport(err error) error {
	var known *engine.Error
	switch {
	case errors.As(err, &known) && known.Code == engine.CodeOutcomeUnknown:
		return fmt.Errorf("%w (%w)", errImportUnknown, err)
	default:
		return fmt.Errorf("%w: %w", errWrongLines, err)
	}
}

// actor is who the audit says made the products.
func (p *productsImport) actor() string {
	return "import " + cmp.Or(p.Actor, systemUser())
}

func systemUser() string {
	if who, err := user.Current(); err == nil && engine.ValidText(who.Username, 1, maxActor) {
		return who.Username
	}
	return "uid " + strconv.Itoa(os.Getuid()) // in an image without a list of users
}
