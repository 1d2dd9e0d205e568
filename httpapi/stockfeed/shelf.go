package stockfeed

import (
	"bytes"
	"sync"
)

// event is something to tell all who watch a product.
type event struct {
	number uint64 // newer ones have higher ones; 0 = nothing yet
	bytes  []byte
}

// shelf is how a product was read last, and who watches it.
type shelf struct {
	product   string
	abandoned chan struct{} // closed when the last client goes

	mu      sync.Mutex
	clients map[*client]struct{}
	event   event
	unknown bool // there is no such product
}

func newShelf(product string) *shelf {
	return &shelf{product: product, abandoned: make(chan struct{}), clients: make(map[*client]struct{})}
}

// join lets a client be told what comes, and have what there is wait for it. Nobody writes to it yet.
func (s *shelf) join(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[c] = struct{}{}
	c.told, c.newest, c.last = s.event.number, s.event.bytes, s.unknown
}

// leave returns whether the client was the last.
func (s *shelf) leave(c *client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
	return len(s.clients) == 0
}

// publish puts out an event, and returns whether it is another than the one that was there.
func (s *shelf) publish(now []byte) (event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Equal(now, s.event.bytes) {
		return s.event, false
	}
	s.event = event{s.event.number + 1, now}
	return s.event, true
}

// close lets all clients go, those who come later too.
func (s *shelf) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unknown = true
	for c := range s.clients {
		c.finish()
	}
}

// line is who is told together, by turns.
type line [turns][]*client

// lineUp puts the clients into their turns and returns how many there are.
func (s *shelf) lineUp(l *line) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		l[c.turn] = append(l[c.turn], c)
	}
	return len(s.clients)
}

// disperse forgets who stood in line, and keeps the room.
func (l *line) disperse() {
	for turn, clients := range l {
		clear(clients)
		l[turn] = clients[:0]
	}
}
