package auth

import (
	"encoding/base64"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// line makes a key and its line.
func line(t *testing.T, scopes, name, user string) (key, text string) {
	t.Helper()
	key = NewKey()
	text, err := KeyLine(key, scopes, name, user)
	require.NoError(t, err)
	return key, text
}

func TestKeysAreRandomAndRecognisable(t *testing.T) {
	const enough = 1000
	seen := make(map[string]bool)
	var set, unset [keyBytes * 8]int
	for range enough {
		key := NewKey()
		require.Regexp(t, `^fsk_[A-Za-z0-9_-]{43}$`, key)
		require.False(t, seen[key])
		seen[key] = true
		for i, b := range randomOf(t, key) {
			for bit := range 8 {
				if b>>bit&1 == 1 {
					set[8*i+bit]++
				} else {
					unset[8*i+bit]++
				}
			}
		}
	}
	for i := range set {
		require.Greater(t, min(set[i], unset[i]), enough/3, "bit %d of %d is not random", i, len(set))
	}
}

// randomOf returns the random part of a key.
func randomOf(t *testing.T, key string) []byte {
	t.Helper()
	random, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(key, keyPrefix))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(random), 128/8)
	return random
}

func TestKeysStandForWhomTheirLineSays(t *testing.T) {
	shop, shopLine := line(t, "buyer", "shop", "")
	next, nextLine := line(t, "buyer", "shop-next", "")
	ann, annLine := line(t, "buyer,monitor", "ann", "ann@x.example")
	ops, opsLine := line(t, "admin", "ops", "")
	keys, err := ParseKeys(strings.NewReader("# the shop\n\n" + shopLine + "\n  " + nextLine + "\r\n" + annLine + "\n" + opsLine))
	require.NoError(t, err)
	require.Equal(t, 4, keys.Len())
	for key, want := range map[string]Identity{
		shop: {Name: "key:shop", Scopes: Buyer}, next: {Name: "key:shop-next", Scopes: Buyer},
		ann: {Name: "key:ann", User: "ann@x.example", Scopes: Buyer | Monitor}, ops: {Name: "key:ops", Scopes: Admin},
	} {
		who, err := keys.Verify(key)
		require.NoError(t, err)
		require.Equal(t, want, who)
	}
	hashed, _, _ := strings.Cut(shopLine, " ")
	for name, wrong := range map[string]string{
		"nothing": "", "another key": NewKey(), "a part": shop[:len(shop)-1], "more": shop + "x", "the hash": hashed,
		"other letters": strings.ToUpper(shop), "without the prefix": shop[4:], "only the prefix": "fsk_",
	} {
		who, err := keys.Verify(wrong)
		require.ErrorIs(t, err, ErrInvalid, name)
		require.Equal(t, Identity{}, who)
	}
}

// The hash of something that a person thought up is in the file; what it is the hash of is still no key.
func TestOnlyGeneratedKeysAreKeys(t *testing.T) {
	const password = "hunter2"
	_, text := line(t, "buyer", "shop", "")
	_, rest, _ := strings.Cut(text, " ")
	keys, err := ParseKeys(strings.NewReader(fmt.Sprintf("sha256:%x %s\n", hashOf(password), rest)))
	require.NoError(t, err)
	_, err = keys.Verify(password)
	require.ErrorIs(t, err, ErrInvalid)
}

func TestKeysAreKeptHashed(t *testing.T) {
	key, text := line(t, "admin", "ops", "")
	require.NotContains(t, text, key[len(keyPrefix):])
	keys, err := ParseKeys(strings.NewReader(text))
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%+v", keys), key)
}

func TestKeyFilesWithMistakes(t *testing.T) {
	const canary = "canary"
	key, good := line(t, "buyer", "shop", "")
	hash, _, _ := strings.Cut(good, " ")
	_, other := line(t, "buyer", "shop", "")
	for name, c := range map[string]struct {
		file string
		line string
		want error
	}{
		"no key at all":        {"# " + canary + "\n\n", "", errNoKeys},
		"nothing":              {"", "", errNoKeys},
		"one word":             {good + "\n" + canary, "line 2: ", errFields},
		"five words":           {"\n\n" + good + " a " + canary, "line 3: ", errFields},
		"no hash":              {canary + " buyer shop", "line 1: ", errHash},
		"another hash":         {"md5:" + canary + " buyer shop", "line 1: ", errHash},
		"a short hash":         {hash[:len(hash)-2] + " buyer shop", "line 1: ", errHash},
		"a long hash":          {hash + "00 buyer shop", "line 1: ", errHash},
		"no hex":               {hash[:len(hash)-1] + "x buyer shop", "line 1: ", errHash},
		"hash without name":    {strings.TrimPrefix(hash, "sha256:") + " buyer shop", "line 1: ", errHash},
		"an unknown scope":     {hash + " " + canary + " shop", "line 1: ", errScopes},
		"an empty scope":       {hash + " buyer, shop", "line 1: ", errScopes},
		"scopes in capitals":   {hash + " Buyer shop", "line 1: ", errScopes},
		"a strange name":       {hash + " buyer " + canary + "/", "line 1: ", errName},
		"a long name":          {hash + " buyer " + strings.Repeat("n", 65), "line 1: ", errName},
		"a strange user":       {hash + " buyer shop " + canary + "!", "line 1: ", errUser},
		"a user for an admin":  {hash + " buyer,admin shop ann", "line 1: ", errUserScope},
		"a user for a monitor": {hash + " monitor shop ann", "line 1: ", errUserScope},
		"a key itself":         {good + "\n" + key + " buyer shop", "line 2: ", errPlainKey},
		"a key with its line":  {key + "\n" + good, "line 1: ", errPlainKey},
		"the same key twice":   {good + "\n" + good + "2", "line 2: ", errSameKey},
		"the same name twice":  {good + "\n\n" + other, "line 3: ", errSameName},
		"a very long line":     {good + "\n# " + strings.Repeat("x", maxKeyLine), "line 2: ", errLongLine},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseKeys(strings.NewReader(c.file))
			require.ErrorIs(t, err, c.want)
			require.True(t, strings.HasPrefix(err.Error(), c.line), err.Error())
			require.NotContains(t, err.Error(), canary, "what is in the file is not repeated")
			require.NotContains(t, err.Error(), key)
		})
	}
}

func TestKeysAreBounded(t *testing.T) {
	var file strings.Builder
	for i := range maxKeys + 1 {
		_, text := line(t, "buyer", fmt.Sprint("key-", i), "")
		file.WriteString(text + "\n")
	}
	_, err := ParseKeys(strings.NewReader(file.String()))
	require.ErrorIs(t, err, errManyKeys)
	all, _, _ := strings.Cut(file.String(), fmt.Sprint(" key-", maxKeys))
	keys, err := ParseKeys(strings.NewReader(all[:strings.LastIndex(all, "\n")]))
	require.NoError(t, err)
	require.Equal(t, maxKeys, keys.Len())
}

// How long a check takes can't be measured well enough to be a test. So its source is read: every hash is compared with
// by crypto/subtle, and the loop over them can't be left early.
func TestKeysAreComparedInConstantTime(t *testing.T) {
	tree, err := parser.ParseFile(token.NewFileSet(), "keys.go", nil, 0)
	require.NoError(t, err)
	var loops, compared int
	for _, declared := range tree.Decls {
		verify, ok := declared.(*ast.FuncDecl)
		if !ok || verify.Name.Name != "Verify" {
			continue
		}
		ast.Inspect(verify, func(n ast.Node) bool {
			loop, ok := n.(*ast.RangeStmt)
			if !ok {
				return true
			}
			loops++
			ast.Inspect(loop.Body, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ReturnStmt, *ast.BranchStmt, *ast.IfStmt, *ast.BinaryExpr:
					t.Errorf("%T in the loop", n)
				case *ast.SelectorExpr:
					if n.Sel.Name == "ConstantTimeCompare" {
						compared++
					}
				}
				return true
			})
			return false
		})
	}
	require.Equal(t, 1, loops)
	require.Equal(t, 1, compared)
}

func TestScopes(t *testing.T) {
	for have, includes := range map[Scope][]Scope{
		0: {}, Buyer: {Buyer}, Monitor: {Monitor}, Buyer | Monitor: {Buyer, Monitor}, Admin: {Buyer, Monitor, Admin},
	} {
		for _, need := range []Scope{Buyer, Monitor, Admin} {
			require.Equal(t, slices.Contains(includes, need), have.Includes(need), "%b includes %b", have, need)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add("sha256:e443712609f4466732c4fab15f175975e1c23336a758c612e03c14aa08976a5b buyer shop ann\n# x\n")
	f.Add("sha256: buyer\n\x00")
	f.Fuzz(func(t *testing.T, file string) {
		keys, err := ParseKeys(strings.NewReader(file))
		if err != nil {
			return
		}
		require.Positive(t, keys.Len())
		_, err = keys.Verify(NewKey())
		require.ErrorIs(t, err, ErrInvalid)
	})
}
