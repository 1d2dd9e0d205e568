package engine

// maxProductID and maxUserID bound the ids, in bytes.
const (
	maxProductID = 64
	maxUserID    = 128
)

// reservedProductID is a route of its own: GET /inventory/metrics.
const reservedProductID = "metrics"

// What the ids allow, in words for error messages.
const (
	ProductIDRule = "must be 1 to 64 characters of A-Z a-z 0-9 . _ -, not begin with a dot, and not be \"metrics\""
	UserIDRule    = "must be 1 to 128 characters of A-Z a-z 0-9 . _ @ : + -"
)

const (
	alnum          = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	productLetters = alnum + "._-"
	userLetters    = alnum + "._@:+-"
)

var (
	productAlphabet = alphabet(productLetters)
	userAlphabet    = alphabet(userLetters)
)

func alphabet(letters string) (set [256]bool) {
	for i := range len(letters) {
		set[letters[i]] = true
	}
	return set
}

// ValidProductID tells whether an id matches ^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$ and is not reserved.
func ValidProductID[T string | []byte](id T) bool {
	return len(id) > 0 && len(id) <= maxProductID && id[0] != '.' && madeOf(id, &productAlphabet) &&
		string(id) != reservedProductID
}

// ValidUserID tells whether an id matches ^[A-Za-z0-9._@:+-]{1,128}$.
func ValidUserID[T string | []byte](id T) bool {
	return len(id) > 0 && len(id) <= maxUserID && madeOf(id, &userAlphabet)
}

func madeOf[T string | []byte](text T, set *[256]bool) bool {
	for i := range len(text) {
		if !set[text[i]] {
			return false
		}
	}
	return true
}
