package sheet

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"flashsale/engine"
)

// names are what a round trip must bring back: what CSV itself uses, formulas, apostrophes, letters of everywhere.
var names = rapid.OneOf(
	rapid.StringOfN(rapid.RuneFrom([]rune(`=+-@＝＋－＠',";|\ ab`)), 1, 12, -1),
	rapid.StringOfN(rapid.RuneFrom([]rune("aé漢🛒\u202e\ufeff\u00a0\u2028,\"'=")), 1, engine.MaxName, -1),
	rapid.StringN(1, engine.MaxName, -1),
).Filter(func(name string) bool { return engine.ValidText(name, 1, engine.MaxName) })

var ids = rapid.StringMatching(`[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}`).Filter(engine.ValidProductID[string])

func drawTime(t *rapid.T, label string, least int64) time.Time {
	const lastMs = 253_402_300_799_999 // 9999-12-31
	if !rapid.Bool().Draw(t, label+" is set") {
		return time.Time{}
	}
	return time.UnixMilli(rapid.Int64Range(least, lastMs).Draw(t, label)).UTC()
}

func drawProduct(t *rapid.T, id string) engine.Product {
	p := engine.Product{ID: id, Name: names.Draw(t, "name"), PriceCents: rapid.Int64Range(0, engine.MaxPriceCents).Draw(t, "price")}
	p.Stock.Initial = rapid.Int64Range(0, engine.MaxStock).Draw(t, "stock")
	p.Terms.PerUserLimit = rapid.Int64Range(0, engine.MaxPerUser).Draw(t, "limit")
	p.Terms.Active = rapid.Bool().Draw(t, "active")
	p.Terms.StartsAt = drawTime(t, "starts", 1)
	least := int64(1)
	if !p.Terms.StartsAt.IsZero() {
		least = min(p.Terms.StartsAt.UnixMilli()+1, 253_402_300_799_999)
	}
	p.Terms.EndsAt = drawTime(t, "ends", least)
	if p.Terms.CheckWindow() != nil {
		p.Terms.EndsAt = time.Time{}
	}
	return p
}

func write(t require.TestingT, products []engine.Product, withCounters bool) string {
	var file bytes.Buffer
	w := NewWriter(&file, withCounters)
	for i := range products {
		require.NoError(t, w.Write(&products[i]))
	}
	require.NoError(t, w.Flush())
	return file.String()
}

func TestWhatIsExportedIsImportedUnchanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var products []engine.Product
		for _, id := range rapid.SliceOfNDistinct(ids, 0, 8, rapid.ID[string]).Draw(t, "ids") {
			products = append(products, drawProduct(t, id))
		}
		file := write(t, products, false)
		if rapid.Bool().Draw(t, "saved by a spreadsheet") {
			file = byteOrderMark + strings.ReplaceAll(file, "\n", "\r\n")
		}
		rows, problems, err := Read(strings.NewReader(file))
		require.NoError(t, err)
		require.Empty(t, problems)
		require.Len(t, rows, len(products))
		for i := range rows {
			require.Equal(t, products[i], rows[i].Product)
			require.Equal(t, i+2, rows[i].Line)
		}
	})
}

func TestNoExportedTextIsAFormula(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		file := write(t, []engine.Product{drawProduct(t, ids.Draw(t, "id"))}, true)
		records, err := csv.NewReader(strings.NewReader(file)).ReadAll()
		require.NoError(t, err)
		for _, value := range records[1] {
			first, _ := utf8.DecodeRuneInString(strings.TrimSpace(value) + " ")
			require.NotContains(t, formulaStarts, string(first), "%q", value)
		}
	})
}

func TestAnyTextIsGuardedReversibly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom([]rune("'=+-@＝ \u00a0a"))).Draw(t, "text")
		require.Equal(t, text, unguard(guard(text)))
	})
	for _, c := range [][2]string{
		{"=1+1", "'=1+1"},
		{"'=1", "''=1"},
		{"-x", "'-x"},
		{"@a", "'@a"},
		{" +1", "' +1"},
		{"＝1", "'＝1"},
		{"'tis", "'tis"},
		{"a=b", "a=b"},
		{"", ""},
	} {
		require.Equal(t, c[1], guard(c[0]))
	}
	require.Equal(t, "=1", unguard("=1"), "a file that nobody guarded")
}

func TestColumnsAreFree(t *testing.T) {
	rows, problems, err := Read(strings.NewReader(byteOrderMark + "endsAt,initialStock,name,id,flashSaleActive,price\r\n" +
		"2030-01-02T03:04:05+01:00,7,\"Lamp, \"\"new\"\"\",lamp,FALSE,9.9\r\n\r\n,0,Sofa,12,,0\r\n"))
	require.NoError(t, err)
	require.Empty(t, problems)
	lamp := engine.Product{ID: "lamp", Name: `Lamp, "new"`, PriceCents: 990, Stock: engine.Stock{Initial: 7}}
	lamp.Terms.EndsAt = time.Date(2030, 1, 2, 2, 4, 5, 0, time.UTC)
	sofa := engine.Product{ID: "12", Name: "Sofa", Terms: engine.Terms{Active: true}}
	require.Equal(t, []Row{{2, lamp}, {4, sofa}}, rows)
}

func TestWrongHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want error
		text string
	}{
		"empty":            {"", errNoHeader, ""},
		"only a mark":      {byteOrderMark, errNoHeader, ""},
		"unknown":          {"id,name,price,initialStock,colour\n", errUnknownColumn, `"colour"`},
		"another letter":   {"ID,name,price,initialStock\n", errUnknownColumn, `"ID"`},
		"semicolons":       {"id;name;price;initialStock\n", errUnknownColumn, "the columns are id, name, price, initialStock"},
		"repeated":         {"id,name,price,initialStock,name\n", errRepeatedColumn, `"name"`},
		"missing":          {"id,name,price\n", errMissingColumn, `"initialStock"`},
		"counters":         {write(t, nil, true), errUnknownColumn, `"currentStock"`},
		"malformed quotes": {"id,na\"me,price\n", csv.ErrBareQuote, "header line"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Read(strings.NewReader(c.file))
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.text)
		})
	}
}

const header = "id,name,price,initialStock,perUserLimit,flashSaleActive,startsAt,endsAt\n"

func TestWrongLines(t *testing.T) {
	long := strings.Repeat("x", engine.MaxName+1)
	for name, c := range map[string]struct {
		lines string
		want  []Problem
	}{
		"id":               {"a b,n,1,1,,,,", []Problem{{2, "id " + engine.ProductIDRule + `; it is "a b"`}}},
		"reserved id":      {"metrics,n,1,1,,,,", []Problem{{2, "id " + engine.ProductIDRule + `; it is "metrics"`}}},
		"no id":            {",n,1,1,,,,", []Problem{{2, "id is missing"}}},
		"no name":          {"a,,1,1,,,,", []Problem{{2, "name is missing"}}},
		"name, new line":   {"a,\"x\ny\",1,1,,,,\nb,n,1,x,,,,", []Problem{{2, "name " + nameRule + `; it is "x\ny"`}, {4, "initialStock " + engine.StockRule + `; it is "x"`}}},
		"name, no UTF-8":   {"a,caf\xe9,1,1,,,,", []Problem{{2, "name " + nameRule + `; it is "caf\xe9"`}}},
		"name, too long":   {"a," + long + ",1,1,,,,", []Problem{{2, "name " + nameRule + `; it is "` + long[:maxShown] + `"…`}}},
		"price":            {"a,n,1.999,1,,,,", []Problem{{2, "price " + engine.PriceRule + `; it is "1.999"`}}},
		"price, too high":  {"a,n,10000000000.01,1,,,,", []Problem{{2, "price " + engine.PriceRule + `; it is "10000000000.01"`}}},
		"no price, stock":  {"a,n,,,,,,", []Problem{{2, "price is missing"}, {2, "initialStock is missing"}}},
		"negative stock":   {"a,n,1,-1,,,,", []Problem{{2, "initialStock " + engine.StockRule + `; it is "-1"`}}},
		"stock, too much":  {"a,n,1,1000000000001,,,,", []Problem{{2, "initialStock " + engine.StockRule + `; it is "1000000000001"`}}},
		"limit":            {"a,n,1,1,1e3,,,", []Problem{{2, "perUserLimit " + engine.PerUserRule + `; it is "1e3"`}}},
		"active":           {"a,n,1,1,,yes,,", []Problem{{2, `flashSaleActive must be true or false; it is "yes"`}}},
		"startsAt":         {"a,n,1,1,,,tomorrow,", []Problem{{2, `startsAt must be an RFC 3339 time after 1970, or empty; it is "tomorrow"`}}},
		"beyond 9999":      {"a,n,1,1,,,,9999-12-31T23:59:59-01:00", []Problem{{2, `endsAt must be an RFC 3339 time after 1970, or empty; it is "9999-12-31T23:59:59-01:00"`}}},
		"window":           {"a,n,1,1,,,2030-01-01T00:00:00Z,2030-01-01T00:00:00Z", []Problem{{2, "endsAt must be after startsAt"}}},
		"repeated id":      {"a,n,1,1,,,,\nb,n,1,1,,,,\na,m,1,1,,,,", []Problem{{4, `id "a" is that of line 2 too`}}},
		"too few":          {"a,n,1,1", []Problem{{2, "has 4 values where the header line names 8 columns"}}},
		"too many":         {"a,n,1,1,,,,,", []Problem{{2, "has 9 values where the header line names 8 columns"}}},
		"quotes, then all": {"a,n\"m,1,1,,,,\nb,n,x,1,,,,", []Problem{{2, csv.ErrBareQuote.Error()}, {3, "price " + engine.PriceRule + `; it is "x"`}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems, err := Read(strings.NewReader(header + c.lines + "\n"))
			require.NoError(t, err)
			require.Equal(t, c.want, problems)
		})
	}
	_, problems, err := Read(strings.NewReader("id,name,price,initialStock,holdSeconds\na,n,1,1,86401\n"))
	require.NoError(t, err)
	require.Equal(t, []Problem{{2, "holdSeconds " + engine.HoldRule + `; it is "86401"`}}, problems)
}

func TestRowsOfWrongLinesKeepTheirIDs(t *testing.T) {
	rows, problems, err := Read(strings.NewReader(header + "a,n,x,1,,,,\na,n,1,1,,,,\n b,n,1,1,,,,\nc,n,1,1,,,,\n"))
	require.NoError(t, err)
	require.Len(t, problems, 3)
	require.Equal(t, []string{"2 a", "5 c"}, []string{fmt.Sprint(rows[0].Line, " ", rows[0].Product.ID), fmt.Sprint(rows[1].Line, " ", rows[1].Product.ID)})
	require.Len(t, rows, 2)
}

func manyLines(n int) string {
	var b strings.Builder
	b.WriteString(header)
	for i := range n {
		fmt.Fprintf(&b, "p%d,n,1,1,,,,\n", i)
	}
	return b.String()
}

func TestAFileIsBounded(t *testing.T) {
	rows, problems, err := Read(strings.NewReader(manyLines(MaxProducts)))
	require.NoError(t, err)
	require.Empty(t, problems)
	require.Len(t, rows, MaxProducts)
	_, _, err = Read(strings.NewReader(manyLines(MaxProducts + 1)))
	require.ErrorIs(t, err, errTooManyProducts)
	_, _, err = Read(io.MultiReader(strings.NewReader(header+"a,\""), endless{}))
	require.ErrorIs(t, err, errTooLong)
}

// endless is a quoted value that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

var errTorn = errors.New("torn")

type torn struct{}

func (torn) Read([]byte) (int, error) { return 0, errTorn }

func TestAFileThatCannotBeReadIsAnError(t *testing.T) {
	_, _, err := Read(io.MultiReader(strings.NewReader(header+"a,n,1,1,,,,\n"), torn{}))
	require.ErrorIs(t, err, errTorn)
}

func TestColumnsAreNamedOnce(t *testing.T) {
	all := Columns()
	slices.Sort(all)
	require.Len(t, slices.Compact(all), len(columns))
}
