package httpapi

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"

	"flashsale/engine"
)

// Transitions brings orders that exist to their next state.
type Transitions interface {
	// Settle decides a transition, in bounded time, and fills in its outcome. An error that is no *engine.Error is
	// answered as internal.
	Settle(ctx context.Context, t *engine.Transition) error
}

// postConfirm makes a hold an order: all of it, or the quantity that the body names, the rest going back on sale.
func (s *Server) postConfirm(ctx *fasthttp.RequestCtx) {
	s.settle(ctx, engine.ActionConfirm, func(t *engine.Transition, body *fastjson.Object) error {
		return takeFields(body, map[string]func(*fastjson.Value) error{
			"quantity":   func(v *fastjson.Value) error { return takeQuantity(v, &t.Quantity) },
			"durability": func(v *fastjson.Value) error { return takeDurability(v, &t.Durability) },
		})
	})
}

// postCancel gives back what an order has taken.
func (s *Server) postCancel(ctx *fasthttp.RequestCtx) {
	s.settle(ctx, engine.ActionCancel, func(t *engine.Transition, body *fastjson.Object) error {
		return takeFields(body, map[string]func(*fastjson.Value) error{
			"durability": func(v *fastjson.Value) error { return takeDurability(v, &t.Durability) },
		})
	})
}

// postExtend has a hold end a number of seconds from now.
func (s *Server) postExtend(ctx *fasthttp.RequestCtx) {
	s.settle(ctx, engine.ActionExtend, func(t *engine.Transition, body *fastjson.Object) error {
		err := takeFields(body, map[string]func(*fastjson.Value) error{
			"durability": func(v *fastjson.Value) error { return takeDurability(v, &t.Durability) },
			"holdSeconds": func(v *fastjson.Value) error {
				seconds, ok := integerOf(v)
				if !ok || seconds < 1 || seconds > int64(s.config.MaxHold/time.Second) {
					return errHoldSeconds(s.config.MaxHold)
				}
				t.HoldFor = time.Duration(seconds) * time.Second
				return nil
			},
		})
		if err == nil && t.HoldFor == 0 {
			return missingField("holdSeconds")
		}
		return err
	})
}

func takeQuantity(v *fastjson.Value, into *int64) error {
	quantity, ok := integerOf(v)
	if !ok || quantity < 1 || quantity > engine.MaxQuantity {
		return engine.ErrQuantity
	}
	*into = quantity
	return nil
}

// takeDurability reads the mode that is asked for.
func takeDurability(v *fastjson.Value, into *engine.Durability) error {
	name, _ := v.StringBytes() // nothing where it is no string, which is no mode
	mode, ok := engine.ParseDurability(name)
	if !ok {
		return errDurability
	}
	*into = mode
	return nil
}

func integerOf(v *fastjson.Value) (int64, bool) { return parseInteger(v.MarshalTo(nil)) }

// takeFields hands each member of a body, which may be missing, to whom it is for. The first mistake counts.
func takeFields(body *fastjson.Object, take map[string]func(*fastjson.Value) error) error {
	if body == nil {
		return nil
	}
	seen := make(map[string]bool, len(take))
	var wrong error
	body.Visit(func(key []byte, value *fastjson.Value) {
		name := string(key)
		switch {
		case wrong != nil:
		case take[name] == nil:
			wrong = unknownField(name)
		case seen[name]:
			wrong = repeatedField(name)
		default:
			seen[name] = true
			wrong = take[name](value)
		}
	})
	return wrong
}

// settle reads a transition, has it decided and answers with the order as it is then.
func (s *Server) settle(ctx *fasthttp.RequestCtx, action engine.Action, decode func(*engine.Transition, *fastjson.Object) error) {
	t := engine.NewTransition()
	t.Action = action
	err := s.readTransition(ctx, t, decode)
	if err == nil {
		timed, cancel := s.requestContext()
		defer cancel()
		err = s.deps.Transitions.Settle(timed, t)
	}
	s.metrics.settled(action, err)
	if err != nil {
		s.refuseTransition(ctx, t, absentAlike(err))
		return
	}
	sendJSON(ctx, fasthttp.StatusOK, append(appendOrderHead(nil, &t.Order, t.Durability), '}'))
}

func (s *Server) readTransition(ctx *fasthttp.RequestCtx, t *engine.Transition, decode func(*engine.Transition, *fastjson.Object) error) error {
	id, ok := engine.ParseOrderID(pathValue(ctx, "id"))
	if !ok {
		return errNoOrder
	}
	t.ID, t.User = id, s.onlyUser(ctx)
	if err := checkContentType(&ctx.Request.Header); err != nil {
		return err
	}
	body, err := optionalObject(ctx.PostBody())
	if err != nil {
		return err
	}
	if err := decode(t, body); err != nil || t.User == "" {
		return err
	}
	return s.chargeUser(ctx, t.User)
}

// optionalObject parses a body that may be empty.
func optionalObject(body []byte) (*fastjson.Object, error) {
	if len(body) == 0 {
		return nil, nil //nolint:nilnil // no body is no object, and no mistake
	}
	value, err := fastjson.ParseBytes(body)
	if err != nil {
		return nil, errMalformed
	}
	object, err := value.Object()
	if err != nil {
		return nil, errNoObject
	}
	return object, nil
}

var errTransitionUnknown = &engine.Error{
	Code: engine.CodeOutcomeUnknown, Detail: "the order may or may not have been changed; sending the same again is safe, and tells",
}

// refuseTransition answers a transition that was not made, with the order as it is. Asking again is always safe, even
// where the outcome is unknown.
func (s *Server) refuseTransition(ctx *fasthttp.RequestCtx, t *engine.Transition, err error) {
	failure, expected := coded(err)
	if failure == errTimeout || failure.Code == engine.CodeOutcomeUnknown {
		failure = errTransitionUnknown
	}
	body := s.problem(nil, failure)
	if !expected {
		s.logInternal(ctx, err)
	}
	if t.Order.Status != "" {
		body = appendStringMember(body, `,"orderStatus":`, string(t.Order.Status))
	}
	unknown := failure.Code == engine.CodeOutcomeUnknown
	if unknown {
		body = append(t.ID.Append(append(body, `,"orderId":"`...)), '"')
	}
	s.sendProblem(ctx, failure, append(body, '}'), failure.RetryAfter)
	if unknown {
		setRetryAfter(&ctx.Response.Header, unknownRetry)
	}
}
