package stream

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxEventShown is how much of an unknown event is repeated to its sender, in bytes.
const maxEventShown = 64

// envelope is every message, in both directions.
type envelope struct {
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data,omitempty"`
}

// subscription is the answer to [Subscribe] and [Unsubscribe].
type subscription struct {
	Subscribed bool  `json:"subscribed"`
	IntervalMs int64 `json:"intervalMs"`
}

func allowedEvents(answers map[string]Answer) []string {
	return append([]string{Subscribe, Unsubscribe}, slices.Sorted(maps.Keys(answers))...)
}

// shared is an answer that is told to all who ask within some time.
type shared struct {
	event  string
	answer Answer

	mu   sync.Mutex // whoever holds it makes the answer; the others wait for it
	last numbered
	made time.Time
}

// numbered is a message, and the how many-th it is of what is made of one answer.
type numbered struct {
	frame
	number uint64
}

// get returns the answer as it was at most maxAge ago.
func (s *shared) get(maxAge time.Duration) numbered {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.number > 0 && time.Since(s.made) < maxAge {
		return s.last
	}
	data, refusal := s.answer()
	if refusal != nil {
		told := *refusal
		told.About = s.event
		s.last.frame = encode(Error, told)
	} else {
		s.last.frame = encode(s.event, data)
	}
	s.last.number++
	s.made = time.Now()
	return s.last
}

// refusalOf says what is wrong with a message that was not understood.
func (h *Hub) refusalOf(event, detail string) frame {
	if len(event) > maxEventShown {
		event = event[:maxEventShown] + "…"
	}
	return encode(Error, Refusal{
		Code: "invalid_request", Detail: detail, About: strings.ToValidUTF8(event, "\ufffd"), Allowed: h.allowed,
	})
}
