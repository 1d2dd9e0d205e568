package mask

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAddress(t *testing.T) {
	tests := []struct {
		address, shown string
		free           bool
	}{
		{"", "", true},
		{"redis://h:6379", "redis://h:6379", true},
		{"redis://h", "redis://h", true},
		{"rediss://h:6379/2", "rediss://h:6379/2", true},
		{"redis://[::1]:6379", "redis://[::1]:6379", true},
		{"unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1", true},
		{"redis://a:1?addr=b:2&addr=c:3", "redis://a:1?addr=b:2&addr=c:3", true},
		{"redis://s:26379?master_set=shop", "redis://s:26379?master_set=shop", true},
		{"postgres://u@h/db?sslmode=require", "postgres://u@h/db?sslmode=require", true},
		{"postgres://u@/db?host=%2Frun%2Fpg&port=5432", "postgres://u@/db?host=/run/pg&port=5432", true},
		{"host=h port=5432 dbname=x", "host=h port=5432 dbname=x", true},

		{"redis://:secret@h:6379", "redis://:xxxxx@h:6379", false},
		{"redis://ann:secret@h:6379", "redis://ann:xxxxx@h:6379", false},
		{"postgres://u:se%63ret@h:5433/x", "postgres://u:xxxxx@h:5433/x", false},
		{"postgresql://u@h/x?password=secret&sslmode=require", "postgresql://u@h/x?password=xxxxx&sslmode=require", false},
		{"postgres://u@h/x?sslpassword=secret", "postgres://u@h/x?sslpassword=xxxxx", false},
		{"postgres://u@h/x?passwrod=secret", "postgres://u@h/x?passwrod=xxxxx", false},
		{"host=h password=secret user=u", "host=h password=xxxxx user=u", false},
		{"host=h passwrod=secret", "host=h passwrod=xxxxx", false},

		// Where the reader of the address may cut it otherwise than the one who wrote it, nothing is shown.
		{"redis://secret@h:6379", "xxxxx", false},
		{"redis://:se%cret@h:6379", "xxxxx", false},
		{"redis://:a/secret@h:6379", "xxxxx", false},
		{"redis://:1/secret@h:6379", "xxxxx", false},
		{"redis://:1?secret@h:6379", "xxxxx", false},
		{"redis://:1#secret@h:6379", "xxxxx", false},
		{"redis://:12345", "xxxxx", false},
		{"redis://:p@secret@h:6379", "xxxxx", false},
		{"redis:secret@h:6379", "xxxxx", false},
		{"redis://h:6379/secret", "xxxxx", false},
		{"redis://h?addr=:secret@b:2", "xxxxx", false},
		{"redis://h?;secret", "xxxxx", false},
		{"redis://h?secret", "xxxxx", false},
		{"redis://h#secret", "xxxxx", false},
		{"postgres://u:p#secret@h/db", "xxxxx", false},
		{"postgres://u:1#secret@h/db", "xxxxx", false},
		{"postgres://u:se cret@h/db", "xxxxx", false},
		{"http://u@h", "xxxxx", false},
		{":secret@h:6379", "xxxxx", false},
		{"10.0.0.1:6379", "xxxxx", false},
		{"host=h password = secret", "xxxxx", false},
		{"host=h password='my secret'", "xxxxx", false},
		{"host=h password=my secret", "xxxxx", false},
		{`host=h password=my\ secret`, "xxxxx", false},
		{"host=h password=my=secret", "xxxxx", false},
		{"host=u:secret@h", "xxxxx", false},
		{"secret", "xxxxx", false},
	}
	for _, test := range tests {
		t.Run(test.address, func(t *testing.T) {
			assert.Equal(t, test.shown, Address(test.address))
			assert.Equal(t, test.free, Free(test.address))
		})
	}
}
