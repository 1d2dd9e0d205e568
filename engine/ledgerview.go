package engine

import (
	"context"
	"fmt"
)

// TimeMs returns the server's time, in ms since 1970.
func (l *Link) TimeMs(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, l.reply)
	defer cancel()
	parts, err := l.client.Do(ctx, l.client.B().Time().Build()).AsIntSlice()
	if err != nil {
		return 0, fmt.Errorf("time of partition %d: %w", l.partition, err)
	}
	if len(parts) != 2 {
		return 0, fmt.Errorf("time of partition %d: %d fields", l.partition, len(parts))
	}
	return parts[0]*1000 + parts[1]/1000, nil
}
