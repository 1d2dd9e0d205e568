package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// withoutLeadingZeros is a list of numbers as a formatter writes it: 007 means 7.
func withoutLeadingZeros(list string) string {
	fields := strings.Split(list, ",")
	for i, field := range fields {
		if trimmed := strings.TrimLeft(field, "0"); trimmed != "" && trimmed[0] >= '1' && trimmed[0] <= '9' {
			fields[i] = trimmed
		} else if trimmed == "" && field != "" {
			fields[i] = "0"
		}
	}
	return strings.Join(fields, ",")
}

func FuzzParseRecord(f *testing.F) {
	for _, record := range []string{
		"c,1,2,1700000000000,1700000000001,0,7,3,sku|u", "p,2,1,1,1,9,1,0,a|b", "x,1,1,1,1,0,1,0,a|b,c", "c,1,-2,1,1,0,1,0,a|b",
		"c,1,+2,1,1,0,1,0,a|b", "c,01,2,1,1,0,1,0,a|b", "z,1,2,1,1,0,1,0,a|b", "c,1,2,1,1,0,1,0,a", "c,1,2,1,1,0,1,0,a|",
		"c,1,9223372036854775808,1,1,0,1,0,a|b", "", ",,,,,,,,", "cc,1,2,1,1,0,1,0,a|b", "c,1,1.5,1,1,0,1,0,a|b",
		"p,1,2,1,1,601,1,9,a|b|2;600|any, key|at all", "c,1,2,1,1,0,1,0,a|b|2;0|", "c,1,2,1,1,0,1,0,a|b|c",
	} {
		f.Add(record)
	}
	id := OrderID{15: 1}
	f.Fuzz(func(t *testing.T, record string) {
		o, err := ParseRecord(id, record)
		if err != nil {
			require.Zero(t, o, "what %q is refused with", record)
			return
		}
		require.Equal(t, id, o.ID)
		require.True(t, ValidProductID(o.Product) && ValidUserID(o.User), "product and user of %q", record)
		require.GreaterOrEqual(t, min(o.Version, o.Quantity, o.CreatedAtMs, o.UpdatedAtMs, o.ExpiresAtMs, o.Number), int64(0))
		numbers, names, _ := cutLast(record)
		require.Equal(t, withoutLeadingZeros(numbers)+","+names, o.Record(), "a record must be written as it was read")
	})
}

func FuzzParseStock(f *testing.F) {
	for _, value := range []string{
		"1,2,3,6,1", "0,0,0,0,0", "-1,0,0,0,1", "+1,0,0,1,1", "007,0,0,7,1", "1,2,3,6", "1,2,3,6,1,", "", "a,b,c,d,e",
		"9223372036854775807,0,0,0,0", "9223372036854775808,0,0,0,0", "1_0,0,0,0,0", "-0,0,0,0,0", " 1,0,0,0,0", "1,0,0,0,0\n",
	} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		stock, err := ParseStock(value)
		if err != nil {
			return
		}
		require.True(t, countersPattern.MatchString(value), "%q is read here and called corrupt by the scripts", value)
		require.Equal(t, withoutLeadingZeros(value), stock.String(), "counters must be written as they were read")
	})
}

// The entry is given as its fields, one a line.
func FuzzParseEntry(f *testing.F) {
	id := strings.Repeat("i", 16)
	for _, lines := range []string{
		"orders\n1\n" + id + "\nc,1,2,1,1,0,7,0,a|u", "orders\n1\nshort\nc,1,2,1,1,0,7,0,a|u", "orders\n1\n" + id + "\nrubbish",
		"change\n1\na\n3,-5,APPLIED", "change\n1\na\n3,0,REFUSED", "change\n1\na\n3,0,SOMETHING", "change\n1\na\nx", "change\n1\na\n-1,1,APPLIED",
		"change\n1\na\n3,-5,APPLIED\nmore\nfields", "nobody\n1\na\nb", "reserved\n1\n7\n" + id + "\x00\x051,a|u" + id + "\x00\x07rubbish" + id + "\x00\x14c,1,2,1,1,0,7,0,a|u", "reserved\n1\n7\nx",
		"reserved\n1\n7\n" + id + "\x00\x061,a|u", "reserved\n1\nx\ny", "reserved\n1\n7\n" + id + "\x00\x05-,a|u" + id + "\x00\x0b2000000,a|u",
		"accepted\n1\n7\n" + id + "rrrrrr\n2\na|u b|v", "accepted\n1\n7\n" + id + "rrrrrrssssss\n1\na|u\nrecord\nc,1,2,1,1,0,7,0,a|u\n3\na|u",
		"accepted\n1\n7\n" + id + "\n1\na|u b|v", "accepted\n1\n7\n" + id + "\nrecord\nrubbish", "accepted\n1\n7\n" + id + "\nx\na|u",
		"accepted\n1\n7\n" + id + "rrrrrr\n2\nrubbish ", "accepted\n1\nx\n" + id + "\n1\na|u", "accepted\n1\n7\nshort\n1\na|u", "accepted\n1\n7",
		"orders\nnever\na\nb", "orders\n1", "", "orders\n1\na",
	} {
		f.Add(lines)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		fields := strings.Split(lines, "\n")
		entry := Entry{Sequence: 7}
		if err := entry.parseFields(slices.Clone(fields)); err != nil {
			require.Nil(t, entry.Change)
			require.Empty(t, entry.Orders)
			return
		}
		require.Equal(t, uint64(7), entry.Sequence)
		switch fields[0] {
		case "orders":
			requireLoggedOrders(t, fields[2:], entry.Orders)
		case "accepted":
			requireAcceptedOrders(t, fields[2:], entry.Orders)
			require.Contains(t, []int64{0, number(fields[2]) + int64(len(entry.Orders))}, entry.Counted)
			require.Equal(t, number(fields[2]) > maxExact, entry.Counted == 0, "no log comes that far")
		case "reserved":
			requireReservedOrders(t, fields[2], fields[3], entry.Orders)
		case "change":
			require.Len(t, fields, 4, "an entry with more than one change must be refused")
			requireTakenChange(t, fields[2], fields[3], entry.Change)
		default:
			require.Fail(t, "accepted", "an entry of the kind %q", fields[0])
		}
	})
}

func requireLoggedOrders(t *testing.T, fields []string, orders []LoggedOrder) {
	t.Helper()
	require.Len(t, orders, len(fields)/2, "one logged order for each pair, readable or not")
	for i, o := range orders {
		require.Equal(t, fields[2*i+1], o.Record, "the record as it stands")
		require.Equal(t, []any{uint64(7), i}, []any{o.Order.Sequence, o.Order.Index}, "the entry decides where an order is")
		if o.Err == nil {
			require.Equal(t, fields[2*i], string(o.Order.ID[:]))
			require.NotEmpty(t, o.Order.Status)
			continue
		}
		require.Empty(t, o.Order.Status, "nothing is known of an order that can't be read but where it is: %+v", o)
	}
}

// requireReservedOrders joins what was read of each order again: together they are the value, whatever was in it.
func requireReservedOrders(t *testing.T, before, value string, orders []LoggedOrder) {
	t.Helper()
	for i, o := range orders {
		require.Equal(t, []any{uint64(7), i}, []any{o.Order.Sequence, o.Order.Index}, "the entry decides where an order is")
		said := o.Record
		if o.Err == nil && said == "" {
			said = fmt.Sprintf("%d,%s", o.Order.Quantity, BuyerField(o.Order.Product, o.Order.User))
			require.Equal(t, number(before)+int64(i)+1, o.Order.Number, "the running count")
			read, err := ParseRecord(o.Order.ID, o.Text())
			require.NoError(t, err, "the record that stands for %q", said)
			read.Index = i
			require.Equal(t, read, o.Order, "the record says all that is known of it")
		}
		id := string(o.Order.ID[:])
		if i == len(orders)-1 && (len(value) < 18 || !strings.HasPrefix(value, id) || len(value) < 18+len(said)) {
			require.Equal(t, value, o.Record, "what is cut off, as it stands")
			require.Error(t, o.Err)
			return
		}
		require.True(t, strings.HasPrefix(value, id), "the id of order %d", i)
		size := int(value[16])<<8 + int(value[17])
		require.Equal(t, withoutLeadingZeros(value[18:18+size]), withoutLeadingZeros(said), "order %d, readable or not", i)
		value = value[18+size:]
	}
	require.Empty(t, value, "all orders")
}

// requireAcceptedOrders has the fields of an entry made again from what was read of its orders, whatever was in them.
func requireAcceptedOrders(t *testing.T, fields []string, orders []LoggedOrder) {
	t.Helper()
	ids := fields[1][:tokenSize]
	for i := range orders {
		o := &orders[i]
		require.Equal(t, []any{uint64(7), i}, []any{o.Order.Sequence, o.Order.Index}, "the entry decides where an order is")
		require.Equal(t, fields[1][:tokenSize], string(o.Order.ID[:tokenSize]), "all have the token")
		ids += string(o.Order.ID[tokenSize:])
	}
	require.Equal(t, fields[1], ids, "all ids, in turn")
	for f := 2; f < len(fields); f += 2 {
		if fields[f] == "record" {
			require.Equal(t, fields[f+1], orders[0].Record, "the record as it stands")
			orders = orders[1:]
			continue
		}
		for _, buyer := range strings.Split(fields[f+1], " ") {
			requireSold(t, fields[0], fields[f], buyer, &orders[0])
			orders = orders[1:]
		}
	}
	require.Empty(t, orders, "no others")
}

// requireSold holds one order against what an entry says was sold at once; before is the running count of orders before it.
func requireSold(t *testing.T, before, quantity, buyer string, o *LoggedOrder) {
	t.Helper()
	if o.Err != nil {
		require.Equal(t, quantity+","+buyer, o.Record, "what can't be read, as it stands")
		return
	}
	require.Empty(t, o.Record)
	require.Equal(t, withoutLeadingZeros(quantity), text(o.Order.Quantity))
	require.Equal(t, buyer, BuyerField(o.Order.Product, o.Order.User))
	require.Equal(t, number(before)+int64(o.Order.Index)+1, o.Order.Number, "the running count")
	read, err := ParseRecord(o.Order.ID, o.Text())
	require.NoError(t, err, "the record that stands for it")
	read.Index = o.Order.Index
	require.Equal(t, read, o.Order, "the record says all that is known of it")
}

func requireTakenChange(t *testing.T, product, value string, change *TakenChange) {
	t.Helper()
	require.Equal(t, product, change.Product)
	if change.Err != nil {
		return
	}
	numbers, status, _ := cutLast(value)
	require.Equal(t, change.Refused, status == "REFUSED", "refused as %q says", value)
	require.Contains(t, []string{"APPLIED", "REFUSED"}, status, "a status that nobody knows must not pass for one")
	if !strings.ContainsAny(numbers, "+-") {
		require.Equal(t, withoutLeadingZeros(numbers), fmt.Sprintf("%d,%d", change.Number, change.Applied), "numbers must be read as they stand")
	}
}

// cutLast cuts around the last comma.
func cutLast(list string) (before, after string, found bool) {
	i := strings.LastIndexByte(list, ',')
	if i < 0 {
		return list, "", false
	}
	return list[:i], list[i+1:], true
}

// The last record that can be read says the running count, with those behind it.
func TestEntriesSayTheRunningCount(t *testing.T) {
	id, sold := strings.Repeat("i", 16), "c,1,2,1,1,0,7,12,a|u"
	for name, c := range map[string]struct {
		fields []string
		want   int64
	}{
		"settled":              {[]string{"orders", "1", id, "c,2,2,1,1,0,7,11,a|u", id, sold}, 12},
		"the last unreadable":  {[]string{"orders", "1", id, sold, id, "rubbish"}, 13},
		"none readable":        {[]string{"orders", "1", id, "rubbish"}, 0},
		"without numbers":      {[]string{"orders", "1", id, "c,1,2,1,1,0,7,0,a|u"}, 0},
		"numbers beyond all":   {[]string{"orders", "1", id, "c,1,2,1,1,0,7,9223372036854775807,a|u", id, "rubbish"}, 0},
		"accepted":             {[]string{"accepted", "1", "10", id + "rrrrrr", "2", "a|u b|v"}, 12},
		"accepted, none first": {[]string{"accepted", "1", "0", id, "record", "rubbish"}, 1},
		"reserved":             {[]string{"reserved", "1", "7", id + "\x00\x051,a|u" + id + "\x00\x07rubbish"}, 9},
		"reserved, cut off":    {[]string{"reserved", "1", "7", id + "\x00\x051,a|u" + id + "\x00\x08rubbish"}, 0},
		"a change":             {[]string{"change", "1", "a", "3,-5,APPLIED"}, 0},
	} {
		entry := Entry{Sequence: 7}
		require.NoError(t, entry.parseFields(c.fields), name)
		require.Equal(t, c.want, entry.Counted, name)
	}
}

func TestRecordsWithNumbersThatNoOrderHasAreRefused(t *testing.T) {
	_, err := ParseRecord(OrderID{15: 1}, "c,1,1000000,253402300799999,1,0,1,0,a|b")
	require.NoError(t, err, "the largest there may be")
	for name, record := range map[string]string{
		"no quantity":        "c,1,0,1,1,0,1,0,a|b",
		"too large quantity": "c,1,1000001,1,1,0,1,0,a|b",
		"huge quantity":      "c,1,9223372036854775807,1,1,0,1,0,a|b",
		"no version":         "c,0,1,1,1,0,1,0,a|b",
		"a time too late":    "c,1,1,253402300800000,1,0,1,0,a|b",
	} {
		_, err := ParseRecord(OrderID{15: 1}, record)
		require.ErrorIs(t, err, errOrderBounds, name)
	}
}

func TestChangesThatNoScriptWritesCanNotBeRead(t *testing.T) {
	require.NoError(t, parseTakenChange("lamp", "1,-5,APPLIED").Err)
	for name, c := range map[string][2]string{
		"no product id":   {"\xff", "1,5,APPLIED"},
		"no number":       {"lamp", "0,5,APPLIED"},
		"a huge amount":   {"lamp", "1,9223372036854775807,APPLIED"},
		"a huge decrease": {"lamp", "1,-9223372036854775808,APPLIED"},
	} {
		change := parseTakenChange(c[0], c[1])
		require.Error(t, change.Err, name)
		require.Equal(t, c[1], change.Record, name)
	}
}
