package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"strconv"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

// History tells about orders past and on their way.
type History interface {
	// OrdersOf returns at most limit orders of a user, newest first, beginning behind a place, and how far behind it is.
	OrdersOf(ctx context.Context, user string, after engine.OrderPlace, limit int) (engine.OrderPage, error)
	// Job returns how far an order is on its way to the ledger, or CodeNotFound.
	Job(ctx context.Context, id engine.OrderID) (engine.Job, error)
	// OrderCounts returns how many orders there are of each state.
	OrderCounts(ctx context.Context) (engine.OrderCounts, error)
}

// headerLedgerLag says how many ms the ledger is behind, where an answer may lack what was answered before.
const headerLedgerLag = "Ledger-Lag-Ms"

// errPathUser is errUserID of a path.
var errPathUser = engine.Invalid("userId", engine.UserIDRule)

// getUserOrders lists a user's orders, newest first, a page at a time.
func (s *Server) getUserOrders(ctx *fasthttp.RequestCtx) {
	user := pathValue(ctx, "userId")
	limit, after, err := placeOf(ctx.QueryArgs())
	if err == nil && !engine.ValidUserID(user) {
		err = errPathUser
	}
	if err == nil && !s.callerOf(ctx).mayAct(user) {
		err = errNoOrder
	}
	if err != nil {
		s.refuse(ctx, err)
		return
	}
	timed, cancel := s.requestContext()
	defer cancel()
	page, err := s.deps.Orders.OrdersOf(timed, user, after, limit+1) // one more tells whether there is a next page
	if err != nil {
		s.refuse(ctx, err)
		return
	}
	orders := page.Orders
	if len(orders) > limit {
		orders = orders[:limit]
		ctx.Response.Header.Set(fasthttp.HeaderLink, nextLink(string(ctx.Path()), limit, cursorOf(&orders[limit-1])))
	}
	if page.LagMs > 0 {
		ctx.Response.Header.Set(headerLedgerLag, strconv.FormatInt(page.LagMs, 10))
	}
	body := []byte{'['}
	for i := range orders {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendOrder(body, &orders[i])
	}
	sendJSON(ctx, fasthttp.StatusOK, append(body, ']'))
}

// cursorOf names the place of an order in the list: when it was made, in ms, and its id.
func cursorOf(o *engine.OrderView) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(o.CreatedAtMs)), o.ID[:]...)
}

// placeOf reads limit and cursor of a list of orders.
func placeOf(args *fasthttp.Args) (limit int, after engine.OrderPlace, err error) {
	if limit, err = limitOf(args); err != nil || !args.Has("cursor") {
		return limit, after, err
	}
	cursor, err := base64.RawURLEncoding.DecodeString(string(args.Peek("cursor")))
	if err != nil || len(cursor) != 8+len(after.ID) {
		return 0, after, errCursor
	}
	after.CreatedAtMs = int64(binary.BigEndian.Uint64(cursor))
	copy(after.ID[:], cursor[8:])
	if after.CreatedAtMs < 0 || after.CreatedAtMs > maxCursorMs {
		return 0, after, errCursor
	}
	return limit, after, nil
}

// maxCursorMs is the end of the year 9999, the last that is written.
const maxCursorMs = 253_402_300_799_999

// getJob shows how far an order is on its way to the ledger.
func (s *Server) getJob(ctx *fasthttp.RequestCtx) {
	id, ok := engine.ParseOrderID(pathValue(ctx, "jobId"))
	if !ok {
		s.refuse(ctx, errNoOrder)
		return
	}
	timed, cancel := s.requestContext()
	defer cancel()
	job, err := s.deps.Orders.Job(timed, id)
	if err == nil && !s.callerOf(ctx).mayAct(job.User) {
		err = errNoOrder
	}
	if err != nil {
		s.refuse(ctx, absentAlike(err))
		return
	}
	sendJSON(ctx, fasthttp.StatusOK, appendJob(nil, &job))
}

// progressOf is how much of its way a job has gone, in percent.
var progressOf = map[engine.JobStatus]int64{
	engine.JobWaiting: 0, engine.JobActive: 50, engine.JobCompleted: 100, engine.JobFailed: 100,
}

func appendJob(dst []byte, job *engine.Job) []byte {
	dst = job.ID.Append(append(dst, `{"jobId":"`...))
	dst = appendStringMember(dst, `","status":`, string(job.State))
	dst = appendIntMember(dst, `,"progress":`, progressOf[job.State])
	dst = appendIntMember(dst, `,"queuePosition":`, job.Position)
	dst = appendTime(append(dst, `,"processedOn":`...), job.UpdatedAtMs)
	dst = append(dst, `,"finishedOn":`...)
	if job.RecordedAtMs == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = appendTime(dst, job.RecordedAtMs)
	}
	if job.Reason == "" {
		return append(dst, `,"failedReason":null}`...)
	}
	return append(appendStringMember(dst, `,"failedReason":`, job.Reason), '}')
}

// getOrderMetrics counts the orders of each state.
func (s *Server) getOrderMetrics(ctx *fasthttp.RequestCtx) {
	timed, cancel := s.requestContext()
	defer cancel()
	counts, err := s.deps.Orders.OrderCounts(timed)
	if err != nil {
		s.refuse(ctx, err)
		return
	}
	sendJSON(ctx, fasthttp.StatusOK, appendOrderCounts(nil, &counts))
}

func appendOrderCounts(dst []byte, c *engine.OrderCounts) []byte {
	dst = appendIntMember(dst, `{"totalOrders":`, c.Total())
	dst = appendIntMember(dst, `,"confirmedOrders":`, c.Confirmed)
	dst = appendIntMember(dst, `,"failedOrders":`, c.Failed)
	dst = appendIntMember(dst, `,"pendingOrders":`, c.Pending)
	dst = appendIntMember(dst, `,"cancelledOrders":`, c.Cancelled)
	dst = appendIntMember(dst, `,"expiredOrders":`, c.Expired)
	dst = appendIntMember(dst, `,"queueStats":{"waiting":`, c.Waiting)
	dst = appendIntMember(dst, `,"active":`, c.Active)
	dst = appendIntMember(dst, `,"completed":`, c.Total()-c.Failed)
	dst = appendIntMember(dst, `,"failed":`, c.Failed)
	return append(dst, '}', '}')
}

// getInventoryMetrics sums up the stock of all products.
func (s *Server) getInventoryMetrics(ctx *fasthttp.RequestCtx) {
	timed, cancel := s.requestContext()
	defer cancel()
	totals, err := s.stockTotals(timed)
	if err != nil {
		s.refuse(ctx, err)
		return
	}
	sendJSON(ctx, fasthttp.StatusOK, appendStockTotals(nil, &totals))
}

func appendStockTotals(dst []byte, t *engine.StockTotals) []byte {
	dst = appendIntMember(dst, `{"totalProducts":`, t.Products)
	dst = appendIntMember(dst, `,"outOfStockProducts":`, t.OutOfStock)
	dst = appendIntMember(dst, `,"lowStockProducts":`, t.LowStock)
	dst = appendIntMember(dst, `,"totalInitialStock":`, t.Initial)
	dst = appendIntMember(dst, `,"totalCurrentStock":`, t.Current)
	dst = strconv.AppendFloat(append(dst, `,"stockUtilization":`...), utilization(t), 'f', -1, 64)
	return append(dst, '}')
}

// utilizationDigits is what the share of the stock is rounded to: ten-thousandths.
const utilizationDigits = 10_000

// utilization is the share of the initial stock that is sold or held, 0 to 1. It is 1 only where nothing is left.
func utilization(t *engine.StockTotals) float64 {
	if t.Initial == 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(t.Initial-t.Current), utilizationDigits)
	share, _ := bits.Div64(high, low, uint64(t.Initial))
	return float64(share) / utilizationDigits
}
