// The transparency log as Go's own checksum database reads it: golang.org/x/mod/sumdb, which has never heard of us. First the vectors, then the
// files of a log that `cargo run -p nuncio-node --example write_log -- FOLDER` wrote.
//
//	go run log.go ../vectors FOLDER        ends with "N passed, N failed"
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Where the log's rules are stricter than sumdb's, and why.
var beyond = map[string]string{
	"note/spoilt":       "sumdb looks at the first line of a key only",
	"note/too-long":     "our bound",
	"note/key-upper":    "sumdb takes an id in capitals",
	"tile/path-level-8": "our bound",
}

type vector struct {
	Input, Expect map[string]any
}

func (v vector) text(name string) string {
	text, _ := v.Input[name].(string)
	return text
}

func (v vector) number(name string) int64 {
	number, err := strconv.ParseInt(v.text(name), 10, 64)
	must(err)
	return number
}

func (v vector) bytes(name string) []byte {
	return unhex(v.text(name))
}

func (v vector) hash(name string) (hash tlog.Hash) {
	copy(hash[:], v.bytes(name))
	return hash
}

func (v vector) hashes(name string) (hashes []tlog.Hash) {
	for _, item := range v.Input[name].([]any) {
		var hash tlog.Hash
		copy(hash[:], unhex(item.(string)))
		hashes = append(hashes, hash)
	}
	return hashes
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func unhex(text string) []byte {
	bytes, err := hex.DecodeString(text)
	must(err)
	return bytes
}

// What sumdb makes of an input: members of the expectation, or an error. Nil for what it does not have.
func outcome(area string, v vector) (map[string]any, error) {
	switch area + "/" + v.text("what") {
	case "tree/root":
		return root(v)
	case "tree/inclusion":
		entry := tlog.RecordHash(v.bytes("entry"))
		return holds(tlog.CheckRecord(v.hashes("proof"), v.number("size"), v.hash("root"), v.number("index"), entry))
	case "tree/consistency":
		if v.number("old") == 0 {
			return nil, nil
		}
		return holds(tlog.CheckTree(v.hashes("proof"), v.number("new"), v.hash("new_root"), v.number("old"), v.hash("old_root")))
	case "tile/path":
		return path(v.text("path"))
	case "tile/tiles":
		return tiles(v.number("size"))
	case "note/key":
		return key(v.text("text"))
	case "note/note":
		return signed(v)
	}
	return nil, nil
}

func holds(err error) (map[string]any, error) {
	return map[string]any{"holds": true}, err
}

type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) (hashes []tlog.Hash, err error) {
	for _, index := range indexes {
		hashes = append(hashes, s[index])
	}
	return hashes, nil
}

func root(v vector) (map[string]any, error) {
	var all stored
	entries := v.Input["entries"].([]any)
	for index, entry := range entries {
		hashes, err := tlog.StoredHashes(int64(index), unhex(entry.(string)), all)
		must(err)
		all = append(all, hashes...)
	}
	if len(entries) == 0 {
		return nil, nil
	}
	hash, err := tlog.TreeHash(int64(len(entries)), all)
	return map[string]any{"root": hex.EncodeToString(hash[:])}, err
}

// sumdb's paths have the tile's height in them, and "data" for entries.
func path(ours string) (map[string]any, error) {
	theirs := strings.Replace(ours, "tile/", "tile/8/", 1)
	theirs = strings.Replace(theirs, "tile/8/entries/", "tile/8/data/", 1)
	tile, err := tlog.ParseTilePath(theirs)
	if err != nil {
		return nil, err
	}
	said := map[string]any{"kind": "hashes", "level": float64(tile.L), "index": fmt.Sprint(tile.N), "width": float64(tile.W)}
	if tile.L < 0 {
		said["kind"], said["level"] = "entries", nil
	}
	return said, nil
}

// sumdb also lists what each tile was before it was so wide.
func tiles(size int64) (map[string]any, error) {
	listed, paths := tlog.NewTiles(8, 0, size), []any{}
	for at, tile := range listed {
		if at+1 == len(listed) || listed[at+1].L != tile.L || listed[at+1].N != tile.N {
			paths = append(paths, strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		}
	}
	return map[string]any{"paths": paths}, nil
}

func key(text string) (map[string]any, error) {
	verifier, err := note.NewVerifier(text)
	if err != nil {
		return nil, err
	}
	return map[string]any{"name": verifier.Name(), "id": fmt.Sprintf("%08x", verifier.KeyHash())}, nil
}

func signed(v vector) (map[string]any, error) {
	verifier, err := note.NewVerifier(v.text("key"))
	if err != nil {
		return nil, err
	}
	opened, err := note.Open([]byte(v.text("note")), note.VerifierList(verifier))
	if err != nil {
		return nil, err
	}
	return map[string]any{"text": opened.Text}, nil
}

// What sumdb does not say of a thing is not compared.
func agrees(said, expected map[string]any) bool {
	for name, value := range said {
		wanted := expected[name]
		if name == "paths" {
			wanted = hashTiles(wanted.([]any))
		}
		if fmt.Sprint(value) != fmt.Sprint(wanted) {
			return false
		}
	}
	return true
}

// sumdb lists tiles of hashes.
func hashTiles(paths []any) (hashes []any) {
	for _, path := range paths {
		if !strings.HasPrefix(path.(string), "tile/entries/") {
			hashes = append(hashes, path)
		}
	}
	return hashes
}

var passed, failed int

func check(what string, err error) {
	if err == nil {
		passed++
		return
	}
	failed++
	fmt.Printf("%s: %v\n", what, err)
}

func vectors(folder, area string) {
	files, err := filepath.Glob(filepath.Join(folder, area, "*.json"))
	must(err)
	sort.Strings(files)
	for _, file := range files {
		name := area + "/" + strings.TrimSuffix(filepath.Base(file), ".json")
		if beyond[name] != "" {
			continue
		}
		text, err := os.ReadFile(file)
		must(err)
		var v vector
		must(json.Unmarshal(text, &v))
		said, err := outcome(area, v)
		if said == nil && err == nil || strings.Contains(fmt.Sprint(err), "unknown verifier algorithm") {
			continue
		}
		_, refused := v.Expect["error"]
		if refused != (err != nil) || !refused && !agrees(said, v.Expect) {
			check(name, fmt.Errorf("%v, %v", said, err))
			continue
		}
		check(name, nil)
	}
}

// The files of a log. sumdb asks for tiles, and believes none that does not lead to the root.
type folder string

func (f folder) read(name string) string {
	text, err := os.ReadFile(filepath.Join(string(f), name))
	must(err)
	return string(text)
}

func (f folder) Height() int { return 8 }

func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

// An unfinished tile is gone once the full one is there, which begins with it.
func (f folder) tile(tile tlog.Tile) ([]byte, error) {
	path := func(tile tlog.Tile) string {
		ours := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		return filepath.Join(string(f), strings.Replace(ours, "tile/8/", "tile/", 1))
	}
	bytes, err := os.ReadFile(path(tile))
	if err == nil {
		return bytes, nil
	}
	full := tile
	full.W = 256
	return os.ReadFile(path(full))
}

func (f folder) ReadTiles(tiles []tlog.Tile) (all [][]byte, err error) {
	for _, tile := range tiles {
		bytes, err := f.tile(tile)
		if err != nil {
			return nil, err
		}
		all = append(all, bytes[:32*tile.W])
	}
	return all, nil
}

// Entry i is the text of i.
func (f folder) entry(index, size int64) ([]byte, error) {
	width := size - index/256*256
	tile := tlog.Tile{H: 8, L: -1, N: index / 256, W: 256}
	if width < 256 {
		tile.W = int(width)
	}
	bundle, err := f.tile(tile)
	if err != nil {
		return nil, err
	}
	for at := index / 256 * 256; ; at++ {
		len := binary.BigEndian.Uint16(bundle)
		entry := bundle[2 : 2+len]
		if at == index {
			if string(entry) != fmt.Sprint(index) {
				return nil, fmt.Errorf("entry %d is %q", index, entry)
			}
			return entry, nil
		}
		bundle = bundle[2+len:]
	}
}

// A log at one of its sizes: its signature, its root out of its tiles, and some of its entries in it.
func (f folder) head(file string) error {
	verifier, err := note.NewVerifier(f.read("key"))
	must(err)
	opened, err := note.Open([]byte(f.read(file)), note.VerifierList(verifier))
	if err != nil {
		return err
	}
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root := parse(lines[2])
	tree := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, f)
	if hash, err := tlog.TreeHash(size, tree); err != nil || hash != root {
		return fmt.Errorf("%v is not its root: %v", hash, err)
	}
	for step := int64(0); step < 300; step++ {
		index := (size - 1 - step*step*7%size + size) % size
		entry, err := f.entry(index, size)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveRecord(size, index, tree)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(entry)); err != nil {
			return err
		}
	}
	return f.receipt(size, root)
}

// The proof that the log itself gave for its last entry.
func (f folder) receipt(size int64, root tlog.Hash) error {
	head, _, _ := strings.Cut(f.read(fmt.Sprintf("receipt.%d", size)), "\n\n")
	lines := strings.Split(head, "\n")
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		proof = append(proof, parse(line))
	}
	entry := tlog.RecordHash([]byte(fmt.Sprint(size - 1)))
	return tlog.CheckRecord(proof, size, root, size-1, entry)
}

func parse(text string) (hash tlog.Hash) {
	bytes, err := base64.StdEncoding.DecodeString(text)
	must(err)
	copy(hash[:], bytes)
	return hash
}

// Each proof that the log only grew holds, and with one bit of it turned does not.
func (f folder) proofs() error {
	file, err := os.Open(filepath.Join(string(f), "proofs"))
	must(err)
	defer file.Close()
	lines, count := bufio.NewScanner(file), 0
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		old, err := strconv.ParseInt(words[0], 10, 64)
		must(err)
		size, err := strconv.ParseInt(words[1], 10, 64)
		must(err)
		var proof tlog.TreeProof
		for _, word := range words[4:] {
			proof = append(proof, parse(word))
		}
		if err := tlog.CheckTree(proof, size, parse(words[3]), old, parse(words[2])); err != nil {
			return fmt.Errorf("%d to %d: %w", old, size, err)
		}
		count++
		if len(proof) > 0 {
			proof[count%len(proof)][count%32] ^= 1 << (count % 8)
			if tlog.CheckTree(proof, size, parse(words[3]), old, parse(words[2])) == nil {
				return fmt.Errorf("%d to %d: a turned bit is not seen", old, size)
			}
		}
	}
	if count < 45_000 {
		return fmt.Errorf("only %d proofs", count)
	}
	return lines.Err()
}

func main() {
	for _, area := range []string{"tree", "tile", "note"} {
		vectors(os.Args[1], area)
	}
	if passed < 80 {
		check("vectors", fmt.Errorf("only %d", passed))
	}
	log := folder(os.Args[2])
	heads, err := filepath.Glob(filepath.Join(os.Args[2], "checkpoint.*"))
	must(err)
	for _, file := range heads {
		name := filepath.Base(file)
		check(name, log.head(name))
	}
	if len(heads) < 8 {
		check("checkpoints", fmt.Errorf("only %d", len(heads)))
	}
	check("proofs", log.proofs())
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
