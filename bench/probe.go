package bench

import (
	"encoding/json"
	"fmt"

	"github.com/valyala/fasthttp"
)

// probe asks for what every order of the sale will ask for, of a product that is not there: a service that does not know the
// durability, the length of the hold or the token says so before anything is made, and not to the whole crowd.
func (s *sale) probe() error {
	wanted := map[string]any{"productId": s.Product + "-none", "userId": s.Product + "-nobody", "quantity": 1}
	if s.scenario.holds {
		wanted["holdSeconds"] = s.HoldSeconds
	}
	if s.Durability != "" {
		wanted["durability"] = s.Durability
	}
	body, err := json.Marshal(wanted)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	answer, err := s.provers[0].post("/orders", body, s.Token)
	if err != nil {
		return fmt.Errorf("POST %s/orders: %w", s.target.Base, err)
	}
	switch answer.status {
	case fasthttp.StatusBadRequest, fasthttp.StatusUnauthorized, fasthttp.StatusForbidden:
		return fmt.Errorf("no order like those of this sale is taken: %w", expect(answer, fasthttp.StatusCreated, "POST /orders"))
	}
	return nil
}
