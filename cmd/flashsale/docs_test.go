package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEverySettingIsDocumented holds the settings against what people read.
func TestEverySettingIsDocumented(t *testing.T) {
	_, parsed, err := parse(t, "", "serve")
	require.NoError(t, err)
	for _, file := range []string{"README.md", ".env.example"} {
		text, err := os.ReadFile(filepath.Join("..", "..", file))
		require.NoError(t, err)
		for _, flag := range parsed.Flags() {
			for _, name := range flag.Envs {
				if name != "FLASHSALE_CONFIG" {
					require.Contains(t, string(text), name, "%s does not name the setting", file)
				}
			}
		}
	}
}

var markdownLink = regexp.MustCompile(`\]\(([^)\s]+)[^)]*\)`)

// TestEveryLinkLeadsSomewhere follows the links from one file of the repository to another.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	root := filepath.Join("..", "..")
	documents := []string{filepath.Join(root, "README.md"), filepath.Join(root, "lua", "README.md")}
	require.NoError(t, filepath.WalkDir(filepath.Join(root, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".md" {
			documents = append(documents, path)
		}
		return err
	}))
	followed := 0
	for _, document := range documents {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, link := range markdownLink.FindAllStringSubmatch(string(text), -1) {
			target, anchor, _ := strings.Cut(link[1], "#")
			if strings.Contains(target, ":") { // not in the repository
				continue
			}
			followed++
			path := filepath.Join(filepath.Dir(document), target)
			if target == "" {
				path = document
			}
			_, err := os.Stat(path)
			require.NoError(t, err, "%s links to %s", document, target)
			if anchor != "" {
				require.Contains(t, anchorsOf(t, path), anchor, "%s links to %s", document, link[1])
			}
		}
	}
	require.Positive(t, followed)
}

var (
	heading    = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noAnchor   = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	codeFences = regexp.MustCompile("(?s)```.*?```")
)

// anchorsOf are the anchors that GitHub gives the headings of a document.
func anchorsOf(t testing.TB, document string) (anchors []string) {
	t.Helper()
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	for _, found := range heading.FindAllStringSubmatch(codeFences.ReplaceAllString(string(text), ""), -1) {
		anchor := noAnchor.ReplaceAllString(strings.ToLower(found[1]), "")
		anchors = append(anchors, strings.ReplaceAll(anchor, " ", "-"))
	}
	return anchors
}
