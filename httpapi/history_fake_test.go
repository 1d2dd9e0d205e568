package httpapi_test

import (
	"context"

	"flashsale/engine"
)

// fakeHistory is what a fakeStore says about orders past and on their way.
type fakeHistory struct {
	page   engine.OrderPage
	asked  []askedPage
	jobs   map[engine.OrderID]engine.Job
	counts engine.OrderCounts
	totals engine.StockTotals
}

// askedPage is one question for a page.
type askedPage struct {
	user  string
	after engine.OrderPlace
	limit int
}

func (f *fakeStore) OrdersOf(ctx context.Context, user string, after engine.OrderPlace, limit int) (engine.OrderPage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, askedPage{user, after, limit})
	page := f.page
	for i := range page.Orders {
		if page.Orders[i].ID == after.ID {
			page.Orders = page.Orders[i+1:]
			break
		}
	}
	page.Orders = page.Orders[:min(limit, len(page.Orders))]
	return page, f.enter(ctx)
}

func (f *fakeStore) Job(ctx context.Context, id engine.OrderID) (engine.Job, error) {
	job, ok := f.jobs[id]
	if !ok {
		return job, &engine.Error{Code: engine.CodeNotFound, Detail: "no order has this id"}
	}
	return job, f.enter(ctx)
}

func (f *fakeStore) OrderCounts(ctx context.Context) (engine.OrderCounts, error) {
	return f.counts, f.enter(ctx)
}

func (f *fakeStore) StockTotals(ctx context.Context) (engine.StockTotals, error) {
	return f.totals, f.enter(ctx)
}
