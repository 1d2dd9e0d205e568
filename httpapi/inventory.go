package httpapi

import (
	"bytes"
	"encoding/base64"
	"strconv"

	"github.com/valyala/fasthttp"

	"flashsale/engine"
)

// Bounds of a page, in products or orders.
const (
	defaultPage = 50
	maxPage     = 200
)

var (
	errLimit   = engine.Invalid("limit", "must be an integer from 1 to 200")
	errCursor  = engine.Invalid("cursor", "must be one that the Link header of the page before gave")
	errIfMatch = engine.Invalid("If-Match", `must be one version, as the ETag gives it ("3"), or *`)
)

// getProducts lists products by id, a page at a time.
func (s *Server) getProducts(ctx *fasthttp.RequestCtx) {
	limit, after, err := pageOf(ctx.QueryArgs())
	if err != nil {
		s.refuse(ctx, err)
		return
	}
	timed, cancel := s.requestContext()
	defer cancel()
	products, err := s.deps.Catalog.Products(timed, after, limit+1) // one more tells whether there is a next page
	if err != nil {
		s.refuse(ctx, err)
		return
	}
	if len(products) > limit {
		products = products[:limit]
		ctx.Response.Header.Set(fasthttp.HeaderLink, nextLink(string(ctx.Path()), limit, []byte(products[limit-1].ID)))
	}
	body := []byte{'['}
	for i := range products {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendProduct(body, &products[i])
	}
	sendJSON(ctx, fasthttp.StatusOK, append(body, ']'))
}

// limitOf reads how long a page is to be.
func limitOf(args *fasthttp.Args) (int, error) {
	if !args.Has("limit") {
		return defaultPage, nil
	}
	n, ok := parseInteger(args.Peek("limit"))
	if !ok || n < 1 || n > maxPage {
		return 0, errLimit
	}
	return int(n), nil
}

// pageOf reads limit and cursor.
func pageOf(args *fasthttp.Args) (limit int, after string, err error) {
	if limit, err = limitOf(args); err != nil {
		return 0, "", err
	}
	if args.Has("cursor") {
		id, err := base64.RawURLEncoding.DecodeString(string(args.Peek("cursor")))
		if err != nil || !engine.ValidProductID(id) {
			return 0, "", errCursor
		}
		after = string(id)
	}
	return limit, after, nil
}

func nextLink(path string, limit int, last []byte) string {
	cursor := base64.RawURLEncoding.EncodeToString(last)
	return "<" + path + "?limit=" + strconv.Itoa(limit) + "&cursor=" + cursor + `>; rel="next"`
}

// getProduct shows one product.
func (s *Server) getProduct(ctx *fasthttp.RequestCtx) {
	id := pathValue(ctx, "productId")
	if !engine.ValidProductID(id) {
		s.refuse(ctx, engine.ErrUnknownProduct)
		return
	}
	timed, cancel := s.requestContext()
	defer cancel()
	product, err := s.deps.Catalog.Product(timed, id)
	s.sendProduct(ctx, fasthttp.StatusOK, &product, err)
}

// postProduct makes a product.
func (s *Server) postProduct(ctx *fasthttp.RequestCtx) {
	err := checkContentType(&ctx.Request.Header)
	var wanted engine.NewProduct
	if err == nil {
		wanted, err = decodeNewProduct(ctx.PostBody())
	}
	if err != nil {
		s.refuse(ctx, err)
		return
	}
	timed, cancel := s.requestContext()
	defer cancel()
	wanted.Actor = s.callerOf(ctx).name
	product, err := s.deps.Catalog.CreateProduct(timed, wanted)
	if err == nil {
		ctx.Response.Header.Set(fasthttp.HeaderLocation, prefixOf(ctx)+"/inventory/"+product.ID)
	}
	s.sendProduct(ctx, fasthttp.StatusCreated, &product, err)
}

// putProduct changes a product.
func (s *Server) putProduct(ctx *fasthttp.RequestCtx) {
	id := pathValue(ctx, "productId")
	if !engine.ValidProductID(id) {
		s.refuse(ctx, engine.ErrUnknownProduct)
		return
	}
	change, err := changeOf(ctx)
	if err != nil {
		s.refuse(ctx, err)
		return
	}
	timed, cancel := s.requestContext()
	defer cancel()
	change.Actor = s.callerOf(ctx).name
	product, err := s.deps.Catalog.ChangeProduct(timed, id, change)
	s.sendProduct(ctx, fasthttp.StatusOK, &product, err)
}

// changeOf reads the body and the condition of a change.
func changeOf(ctx *fasthttp.RequestCtx) (engine.ProductChange, error) {
	if err := checkContentType(&ctx.Request.Header); err != nil {
		return engine.ProductChange{}, err
	}
	version, err := ifMatch(ctx.Request.Header.PeekAll(fasthttp.HeaderIfMatch))
	if err != nil {
		return engine.ProductChange{}, err
	}
	change, err := decodeChange(ctx.PostBody())
	change.IfVersion = version
	return change, err
}

// ifMatch returns the version that the header asks for, with or without quotes; 0 = any.
func ifMatch(values [][]byte) (version int64, err error) {
	if len(values) == 0 || len(values) == 1 && string(values[0]) == "*" {
		return 0, nil
	}
	value := values[0]
	if quoted, ok := bytes.CutPrefix(value, []byte{'"'}); ok {
		if value, ok = bytes.CutSuffix(quoted, []byte{'"'}); !ok {
			return 0, errIfMatch
		}
	}
	version, ok := parseInteger(value)
	if len(values) > 1 || !ok || version < 1 { // a version 0 would stand for any
		return 0, errIfMatch
	}
	return version, nil
}

// sendProduct sends a product with its version, or why there is none.
func (s *Server) sendProduct(ctx *fasthttp.RequestCtx, status int, p *engine.Product, err error) {
	if err != nil {
		s.refuse(ctx, err)
		return
	}
	ctx.Response.Header.Set(fasthttp.HeaderETag, `"`+strconv.FormatInt(p.Version, 10)+`"`)
	sendJSON(ctx, status, appendProduct(nil, p))
}

func appendProduct(dst []byte, p *engine.Product) []byte {
	dst = appendStringMember(dst, `{"id":`, p.ID)
	dst = appendStringMember(dst, `,"name":`, p.Name)
	dst = appendCents(append(dst, `,"price":`...), p.PriceCents)
	dst = appendIntMember(dst, `,"initialStock":`, p.Stock.Initial)
	dst = appendIntMember(dst, `,"currentStock":`, p.Stock.Current)
	dst = appendIntMember(dst, `,"heldStock":`, p.Stock.Held)
	dst = appendIntMember(dst, `,"soldStock":`, p.Stock.Sold)
	dst = appendIntMember(dst, `,"perUserLimit":`, p.Terms.PerUserLimit)
	dst = appendBoolMember(dst, `,"flashSaleActive":`, p.Terms.Active)
	dst = appendOptionalTime(append(dst, `,"startsAt":`...), p.Terms.StartsAt)
	dst = appendOptionalTime(append(dst, `,"endsAt":`...), p.Terms.EndsAt)
	dst = appendIntMember(dst, `,"holdSeconds":`, p.Terms.HoldSeconds)
	dst = appendIntMember(dst, `,"version":`, p.Version)
	dst = appendTime(append(dst, `,"createdAt":`...), p.CreatedAt.UnixMilli())
	return append(dst, '}')
}
