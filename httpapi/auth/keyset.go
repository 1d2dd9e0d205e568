package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// keySetRefresh is how often the set is fetched: a key that its issuer withdrew is let in no longer than that.
	keySetRefresh = 5 * time.Minute
	// keySetPause is at least between two fetches that tokens with unknown keys ask for: anybody can make up such tokens.
	keySetPause = 10 * time.Second
	// keySetTimeout bounds one fetch, and so what a request waits for it.
	keySetTimeout = 2 * time.Second
	// maxKeySet bounds the document, in bytes.
	maxKeySet = 256 << 10
)

// KeySet is the JWK set at an address, as it was when it was last there: an outage changes nothing.
type KeySet struct {
	url    string
	client *http.Client
	log    *slog.Logger
	now    func() time.Time

	keys atomic.Pointer[[]publicKey]

	mu      sync.Mutex // held while fetching
	fetched time.Time  // when it was last tried
}

// NewKeySet fetches the set at url for the first time and fails where that fails: without it nobody could come in.
func NewKeySet(ctx context.Context, url string) (*KeySet, error) {
	s := newKeySet(url)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fetch(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func newKeySet(url string) *KeySet {
	return &KeySet{
		url: url, log: slog.Default(), now: time.Now,
		// A redirect would let another address choose the keys.
		client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// Run fetches the set every few minutes until ctx ends.
func (s *KeySet) Run(ctx context.Context) error {
	ticker := time.NewTicker(keySetRefresh)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.refresh(ctx, 0)
		}
	}
}

// refresh fetches the set unless that was tried less than pause ago. A failure leaves the set as it is.
func (s *KeySet) refresh(ctx context.Context, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Sub(s.fetched) < pause {
		return
	}
	if err := s.fetch(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn("key set can't be fetched; the last one stays in force", "error", err)
	}
}

var errKeySetStatus = errors.New("the answer is not 200")

func (s *KeySet) fetch(ctx context.Context) error {
	s.fetched = s.now()
	ctx, cancel := context.WithTimeout(ctx, keySetTimeout)
	defer cancel()
	document, err := s.get(ctx)
	if err != nil {
		return fmt.Errorf("fetch the key set: %w", err)
	}
	keys, err := parseKeySet(document)
	if err != nil {
		return err
	}
	s.keys.Store(&keys)
	return nil
}

var errLongKeySet = fmt.Errorf("the answer is longer than %d bytes", maxKeySet)

func (s *KeySet) get(ctx context.Context) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w but %d", errKeySetStatus, answer.StatusCode)
	}
	document, err := io.ReadAll(io.LimitReader(answer.Body, maxKeySet+1))
	if len(document) > maxKeySet {
		return nil, errLongKeySet
	}
	return document, err
}

// keyOf returns the key of a token. One that the set lacks may be new, so the set is fetched again.
func (s *KeySet) keyOf(token *jwt.Token) (any, error) {
	if key, err := findKey(*s.keys.Load(), token); err == nil {
		return key, nil
	}
	s.refresh(context.Background(), keySetPause)
	return findKey(*s.keys.Load(), token)
}
