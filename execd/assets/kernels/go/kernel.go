// The kernel's own part of every program that a cell of Go becomes. Each cell is a program of its own; what it leaves in its
// variables is written down at its end and read again before the next begins.
//
// Kept is what can be read back as it was: numbers, texts, slices, arrays, maps, structs and pointers, also from one variable to
// another; of the types of other packages, those that can write themselves (encoding.BinaryMarshaler, TextMarshaler); errors as
// their text. What cannot be is named, with the reason, on the channel, descriptor 3.

package main

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"
	"unsafe"
)

const (
	k_channelFd = 3
	k_maxBytes  = 256 << 20
	k_magic     = "execd-go-1\n"
)

// k_variable is a variable of the user's that lives on after its cell.
type k_variable struct {
	name  string
	value reflect.Value
}

var (
	k_variables []k_variable
	k_path      string
	// By name, the types that a value of an interface may have to be read back.
	k_types = map[string]reflect.Type{}
)

// k_keep has a variable written down at the end. A later one of the same name takes its place.
func k_keep(name string, pointer any) {
	value := reflect.ValueOf(pointer).Elem()
	k_learn(value.Type())
	for i := range k_variables {
		if k_variables[i].name == name {
			k_variables[i].value = value
			return
		}
	}
	k_variables = append(k_variables, k_variable{name, value})
}

// k_show has values shown as the result of the cell.
func k_show(values ...any) {
	texts := make([]string, len(values))
	for i, value := range values {
		if text, ok := value.(string); ok {
			texts[i] = strconv.Quote(text)
		} else {
			texts[i] = fmt.Sprintf("%v", value)
		}
	}
	k_send(`{"op":"result","text":` + k_quote(strings.Join(texts, ", ")) + `}`)
}

func k_send(line string) {
	channel := os.NewFile(k_channelFd, "channel")
	if channel != nil {
		_, _ = io.WriteString(channel, line+"\n")
	}
}

func k_quote(text string) string {
	var quoted strings.Builder
	quoted.WriteByte('"')
	for _, r := range strings.ToValidUTF8(text, "\ufffd") {
		switch {
		case r == '"' || r == '\\':
			quoted.WriteByte('\\')
			quoted.WriteRune(r)
		case r < ' ':
			fmt.Fprintf(&quoted, `\u%04x`, r)
		default:
			quoted.WriteRune(r)
		}
	}
	quoted.WriteByte('"')
	return quoted.String()
}

// k_begin learns the user's types and reads the variables that are named as pairs of a name and a pointer. It is called while
// the variables of the package are made, before those of the user's that may need them.
func k_begin(path string, types []any, pairs ...any) bool {
	syscall.CloseOnExec(k_channelFd)
	k_path = path
	for _, each := range []any{
		(*bool)(nil), (*int)(nil), (*int8)(nil), (*int16)(nil), (*int32)(nil), (*int64)(nil), (*uint)(nil), (*uint8)(nil),
		(*uint16)(nil), (*uint32)(nil), (*uint64)(nil), (*float32)(nil), (*float64)(nil), (*complex64)(nil), (*complex128)(nil),
		(*string)(nil), (*[]byte)(nil), (*[]string)(nil), (*[]int)(nil), (*[]float64)(nil), (*[]any)(nil),
		(*map[string]any)(nil), (*map[string]string)(nil), (*map[string]int)(nil), (*[]map[string]any)(nil),
	} {
		k_learn(reflect.TypeOf(each).Elem())
	}
	for _, each := range types {
		own := reflect.TypeOf(each).Elem()
		k_learn(own)
		k_learn(reflect.PointerTo(own))
		k_learn(reflect.SliceOf(own))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		k_keep(pairs[i].(string), pairs[i+1])
	}
	k_read()
	return true
}

// k_learn remembers a type and all that it is made of.
func k_learn(t reflect.Type) {
	name := k_typeName(t)
	if _, known := k_types[name]; known {
		return
	}
	k_types[name] = t
	switch t.Kind() {
	case reflect.Array, reflect.Pointer, reflect.Slice:
		k_learn(t.Elem())
	case reflect.Map:
		k_learn(t.Key())
		k_learn(t.Elem())
	case reflect.Struct:
		for i := 0; i < t.NumField(); i++ {
			k_learn(t.Field(i).Type)
		}
	}
}

// k_typeName names a type so that no other has its name.
func k_typeName(t reflect.Type) string {
	if t.Name() != "" {
		return strconv.Quote(t.PkgPath()) + "." + t.Name()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return "*" + k_typeName(t.Elem())
	case reflect.Slice:
		return "[]" + k_typeName(t.Elem())
	case reflect.Array:
		return "[" + strconv.Itoa(t.Len()) + "]" + k_typeName(t.Elem())
	case reflect.Map:
		return "map[" + k_typeName(t.Key()) + "]" + k_typeName(t.Elem())
	}
	return t.String()
}

// k_shape tells whether a type is still what it was when a value of it was written.
func k_shape(t reflect.Type, seen map[reflect.Type]bool) string {
	name := k_typeName(t)
	if seen[t] {
		return name
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return name + "(" + k_shape(t.Elem(), seen) + ")"
	case reflect.Array:
		return name + "(" + strconv.Itoa(t.Len()) + k_shape(t.Elem(), seen) + ")"
	case reflect.Map:
		return name + "(" + k_shape(t.Key(), seen) + k_shape(t.Elem(), seen) + ")"
	case reflect.Struct:
		if k_isForeign(t) {
			return name
		}
		var shape strings.Builder
		for i := 0; i < t.NumField(); i++ {
			shape.WriteString(t.Field(i).Name + " " + k_shape(t.Field(i).Type, seen) + ";")
		}
		return name + "{" + shape.String() + "}"
	}
	return name + "(" + t.Kind().String() + ")"
}

func k_isForeign(t reflect.Type) bool {
	return t.PkgPath() != "" && t.PkgPath() != "main"
}

// How a type is written in source, with the packages that it needs by the names that it uses for them.
type k_written struct {
	text    string
	imports map[string]string
	// The user's own types in it.
	own map[string]bool
}

func (w *k_written) write(t reflect.Type) error {
	if t.Name() != "" {
		name := t.Name()
		switch {
		case t.PkgPath() == "":
			w.text += name
		case t.PkgPath() == "main":
			if strings.ContainsAny(name, "[/") {
				name = strings.ReplaceAll(name, "main.", "")
			}
			if strings.Contains(name, "/") {
				return errors.New("its type cannot be named")
			}
			w.text += name
			w.own[strings.SplitN(name, "[", 2)[0]] = true
		case name[0] < 'A' || name[0] > 'Z' || strings.Contains(name, "[") || strings.Contains("/"+t.PkgPath()+"/", "/internal/"):
			return fmt.Errorf("its type %s cannot be named", t)
		default:
			alias := "k_" + strings.Map(func(r rune) rune {
				if r < utf8.RuneSelf && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9') {
					return r
				}
				return '_'
			}, t.PkgPath())
			w.imports[alias] = t.PkgPath()
			w.text += alias + "." + name
		}
		return nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		w.text += "*"
		return w.write(t.Elem())
	case reflect.Slice:
		w.text += "[]"
		return w.write(t.Elem())
	case reflect.Array:
		w.text += "[" + strconv.Itoa(t.Len()) + "]"
		return w.write(t.Elem())
	case reflect.Map:
		w.text += "map["
		if err := w.write(t.Key()); err != nil {
			return err
		}
		w.text += "]"
		return w.write(t.Elem())
	case reflect.Interface:
		if t.NumMethod() == 0 {
			w.text += "any"
			return nil
		}
	case reflect.Struct:
		w.text += "struct{"
		for i := 0; i < t.NumField(); i++ {
			field := t.Field(i)
			if !field.Anonymous {
				w.text += field.Name + " "
			}
			if err := w.write(field.Type); err != nil {
				return err
			}
			if field.Tag != "" {
				w.text += " " + strconv.Quote(string(field.Tag))
			}
			w.text += ";"
		}
		w.text += "}"
		return nil
	}
	return fmt.Errorf("a value of type %s cannot be written down", t)
}

// k_save writes all variables and tells of each how it can be declared again, or why it cannot.
func k_save() {
	whys := k_check(k_variables)
	var kept []k_variable
	var told []string
	for i, variable := range k_variables {
		written := k_written{imports: map[string]string{}, own: map[string]bool{}}
		err := written.write(variable.value.Type())
		if err == nil {
			err = whys[i]
		}
		why := ""
		if err != nil {
			why = err.Error()
		} else {
			kept = append(kept, variable)
		}
		told = append(told, written.describe(variable, why))
	}
	if err := k_write(kept); err != nil {
		fmt.Fprintln(os.Stderr, "[The variables could not be kept:", err, "]")
		return
	}
	k_send(`{"op":"variables","variables":[` + strings.Join(told, ",") + `]}`)
}

func (w *k_written) describe(variable k_variable, why string) string {
	var imports, own []string
	for alias, path := range w.imports {
		imports = append(imports, k_quote(alias)+":"+k_quote(path))
	}
	for name := range w.own {
		own = append(own, k_quote(name))
	}
	sort.Strings(imports)
	sort.Strings(own)
	return `{"name":` + k_quote(variable.name) + `,"type":` + k_quote(w.text) + `,"why":` + k_quote(why) +
		`,"isZero":` + strconv.FormatBool(variable.value.IsZero()) +
		`,"imports":{` + strings.Join(imports, ",") + `},"own":[` + strings.Join(own, ",") + `]}`
}

type k_marshaling int

const (
	k_byParts k_marshaling = iota
	k_byBinary
	k_byText
	// Nothing is written: it is as good as new when no goroutine is left that could hold it or wait for it.
	k_asNew
)

// Types of other packages whose hidden parts can be written as they are.
var k_plain = map[string]k_marshaling{
	"bytes.Buffer":    k_byParts,
	"strings.Builder": k_byParts,
	"sync.Mutex":      k_asNew,
	"sync.Once":       k_byParts,
	"sync.RWMutex":    k_asNew,
	"sync.WaitGroup":  k_asNew,
}

// How values of a type are written: those of other packages with hidden parts only by their own means, or when they are known.
func k_marshalingOf(t reflect.Type) (k_marshaling, error) {
	if t.Kind() != reflect.Struct || !k_isForeign(t) {
		return k_byParts, nil
	}
	if by, known := k_plain[t.PkgPath()+"."+t.Name()]; known {
		return by, nil
	}
	if t.PkgPath() == "sync/atomic" {
		return k_byParts, nil
	}
	pointer := reflect.New(t).Interface()
	if _, ok := pointer.(encoding.BinaryUnmarshaler); ok {
		if _, ok := pointer.(encoding.BinaryMarshaler); ok {
			return k_byBinary, nil
		}
	}
	if _, ok := pointer.(encoding.TextUnmarshaler); ok {
		if _, ok := pointer.(encoding.TextMarshaler); ok {
			return k_byText, nil
		}
	}
	for i := 0; i < t.NumField(); i++ {
		if !t.Field(i).IsExported() {
			return k_byParts, fmt.Errorf("a value of type %s cannot be written down", t)
		}
	}
	return k_byParts, nil
}

// k_open makes a value one that can be read and set, hidden fields included.
func k_open(value reflect.Value) reflect.Value {
	if !value.CanAddr() {
		copied := reflect.New(value.Type()).Elem()
		copied.Set(value)
		return copied
	}
	return reflect.NewAt(value.Type(), unsafe.Pointer(value.UnsafeAddr())).Elem()
}

type k_place struct {
	pointer unsafe.Pointer
	t       reflect.Type
}

// k_checker finds what cannot be written, in one variable after the other, and gathers what pointers point to.
type k_checker struct {
	seen    map[k_place]bool
	targets []k_place
	spans   []k_place
}

// k_check says of each variable why it cannot be written, or nothing. A pointer into the middle of something would lose what it
// points into, so its variable cannot be either.
func k_check(variables []k_variable) []error {
	whys := make([]error, len(variables))
	targets := make([][]k_place, len(variables))
	var spans []k_place
	for i, variable := range variables {
		checker := &k_checker{seen: map[k_place]bool{}}
		whys[i] = checker.check(variable.value)
		targets[i] = checker.targets
		root := k_place{unsafe.Pointer(variable.value.UnsafeAddr()), variable.value.Type()}
		spans = append(append(spans, checker.spans...), root)
	}
	sort.Slice(spans, func(i, j int) bool { return uintptr(spans[i].pointer) < uintptr(spans[j].pointer) })
	// How far anything up to here reaches.
	reach := make([]uintptr, len(spans))
	for i, span := range spans {
		reach[i] = uintptr(span.pointer) + span.t.Size()
		if i > 0 && reach[i-1] > reach[i] {
			reach[i] = reach[i-1]
		}
	}
	for i := range variables {
		for _, target := range targets[i] {
			at := uintptr(target.pointer)
			behind := sort.Search(len(spans), func(j int) bool { return uintptr(spans[j].pointer) > at })
			for j := behind - 1; j >= 0 && reach[j] > at && whys[i] == nil; j-- {
				span := spans[j]
				isPart := span.pointer == target.pointer && span.t.Size() < target.t.Size()
				if span != target && !isPart && at < uintptr(span.pointer)+span.t.Size() {
					whys[i] = errors.New("it has a pointer into the middle of something else")
				}
			}
		}
	}
	return whys
}

func (c *k_checker) check(value reflect.Value) error {
	value = k_open(value)
	t := value.Type()
	switch t.Kind() {
	case reflect.Func, reflect.Chan, reflect.UnsafePointer:
		if value.IsNil() {
			return nil
		}
		return fmt.Errorf("a value of type %s cannot be written down", t)
	case reflect.Pointer:
		if value.IsNil() {
			return nil
		}
		place := k_place{value.UnsafePointer(), t.Elem()}
		if c.seen[place] {
			return nil
		}
		c.seen[place] = true
		c.targets = append(c.targets, place)
		c.spans = append(c.spans, place)
		return c.check(value.Elem())
	case reflect.Interface:
		if value.IsNil() {
			return nil
		}
		return c.checkDynamic(value.Elem())
	case reflect.Slice:
		if k_isFlat(t.Elem()) {
			return nil
		}
		if value.Len() > 0 {
			c.spans = append(c.spans, k_place{value.UnsafePointer(), reflect.ArrayOf(value.Len(), t.Elem())})
		}
		fallthrough
	case reflect.Array:
		for i := 0; i < value.Len(); i++ {
			if err := c.check(value.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		place := k_place{value.UnsafePointer(), t}
		if value.IsNil() || c.seen[place] {
			return nil
		}
		c.seen[place] = true
		for each := value.MapRange(); each.Next(); {
			if err := c.check(each.Key()); err != nil {
				return err
			}
			if err := c.check(each.Value()); err != nil {
				return err
			}
		}
	case reflect.Struct:
		by, err := k_marshalingOf(t)
		if err != nil || by != k_byParts {
			return err
		}
		for i := 0; i < value.NumField(); i++ {
			if err := c.check(value.Field(i)); err != nil {
				return fmt.Errorf("%s: %w", t.Field(i).Name, err)
			}
		}
	}
	return nil
}

func (c *k_checker) checkDynamic(value reflect.Value) error {
	if _, known := k_types[k_typeName(value.Type())]; known {
		return c.check(value)
	}
	if value.CanInterface() {
		if _, ok := value.Interface().(error); ok {
			return nil
		}
	}
	return fmt.Errorf("a value of type %s cannot be read back", value.Type())
}

// k_isFlat says that a value is its bytes.
func k_isFlat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8,
		reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr, reflect.Float32, reflect.Float64, reflect.Complex64,
		reflect.Complex128:
		return true
	}
	return false
}

// k_bytesOf gives the memory of a flat value or of the elements of a slice of them.
func k_bytesOf(pointer unsafe.Pointer, size int) []byte {
	if size == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(pointer), size)
}

// k_error is what is left of an error: its text.
type k_error struct{ text string }

func (e *k_error) Error() string { return e.text }

const (
	k_nil = iota
	k_new
	k_known
	k_asError
)

type k_writer struct {
	bytes.Buffer
	ids map[k_place]int
}

// The file: the variables' names and shapes, whose ids are their places in this list; then of each its length and its value.
func k_write(variables []k_variable) error {
	head := &k_writer{ids: map[k_place]int{}}
	head.WriteString(k_magic)
	head.number(uint64(len(variables)))
	for i, variable := range variables {
		head.ids[k_place{unsafe.Pointer(variable.value.UnsafeAddr()), variable.value.Type()}] = i
		head.text(variable.name)
		head.text(k_shape(variable.value.Type(), map[reflect.Type]bool{}))
	}
	for _, variable := range variables {
		part := &k_writer{ids: head.ids}
		part.write(variable.value)
		head.number(uint64(part.Len()))
		head.Write(part.Bytes())
		if head.Len() > k_maxBytes {
			return fmt.Errorf("they have more than %d MiB", k_maxBytes>>20)
		}
	}
	temporary := k_path + ".new"
	if err := os.WriteFile(temporary, head.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, k_path)
}

func (w *k_writer) number(n uint64) { w.Write(binary.AppendUvarint(nil, n)) }

func (w *k_writer) text(text string) {
	w.number(uint64(len(text)))
	w.WriteString(text)
}

// known writes a reference to what has been written, or has it written now.
func (w *k_writer) known(place k_place) bool {
	if id, ok := w.ids[place]; ok {
		w.number(k_known)
		w.number(uint64(id))
		return true
	}
	w.ids[place] = len(w.ids)
	w.number(k_new)
	w.number(uint64(w.ids[place]))
	return false
}

func (w *k_writer) write(value reflect.Value) {
	value = k_open(value)
	t := value.Type()
	if k_isFlat(t) {
		w.Write(k_bytesOf(unsafe.Pointer(value.UnsafeAddr()), int(t.Size())))
		return
	}
	switch t.Kind() {
	case reflect.String:
		w.text(value.String())
	case reflect.Pointer:
		if value.IsNil() {
			w.number(k_nil)
		} else if !w.known(k_place{value.UnsafePointer(), t.Elem()}) {
			w.write(value.Elem())
		}
	case reflect.Interface:
		w.writeDynamic(value.Elem())
	case reflect.Slice:
		if value.IsNil() {
			w.number(k_nil)
			return
		}
		w.number(k_new)
		w.number(uint64(value.Len()))
		if k_isFlat(t.Elem()) {
			w.Write(k_bytesOf(value.UnsafePointer(), value.Len()*int(t.Elem().Size())))
			return
		}
		fallthrough
	case reflect.Array:
		for i := 0; i < value.Len(); i++ {
			w.write(value.Index(i))
		}
	case reflect.Map:
		if value.IsNil() {
			w.number(k_nil)
		} else if !w.known(k_place{value.UnsafePointer(), t}) {
			w.number(uint64(value.Len()))
			for each := value.MapRange(); each.Next(); {
				w.write(each.Key())
				w.write(each.Value())
			}
		}
	case reflect.Struct:
		w.writeStruct(value)
	}
}

func (w *k_writer) writeStruct(value reflect.Value) {
	by, _ := k_marshalingOf(value.Type())
	pointer := value.Addr().Interface()
	switch by {
	case k_byBinary:
		data, err := pointer.(encoding.BinaryMarshaler).MarshalBinary()
		w.marshaled(data, err)
	case k_byText:
		data, err := pointer.(encoding.TextMarshaler).MarshalText()
		w.marshaled(data, err)
	case k_asNew:
	default:
		for i := 0; i < value.NumField(); i++ {
			w.write(value.Field(i))
		}
	}
}

func (w *k_writer) marshaled(data []byte, err error) {
	if err != nil {
		data = nil
	}
	w.text(string(data))
}

func (w *k_writer) writeDynamic(value reflect.Value) {
	if !value.IsValid() {
		w.number(k_nil)
		return
	}
	name := k_typeName(value.Type())
	if _, known := k_types[name]; known {
		w.number(k_new)
		w.text(name)
		w.write(value)
		return
	}
	w.number(k_asError)
	w.text(value.Interface().(error).Error())
}

type k_reader struct {
	*bytes.Reader
	// By id: pointers and maps.
	known map[uint64]reflect.Value
}

// k_lost is raised when something that a variable has was of one that is not there any more.
type k_lost struct{}

// k_read reads the variables back. One whose type has changed keeps the zero value of its new type, and says so.
func k_read() {
	data, err := os.ReadFile(k_path)
	if err != nil || !bytes.HasPrefix(data, []byte(k_magic)) {
		return
	}
	r := &k_reader{bytes.NewReader(data[len(k_magic):]), map[uint64]reflect.Value{}}
	targets := make([]reflect.Value, r.number())
	for i := range targets {
		name, shape := r.text(), r.text()
		for _, variable := range k_variables {
			if variable.name != name {
				continue
			}
			if k_shape(variable.value.Type(), map[reflect.Type]bool{}) != shape {
				fmt.Fprintf(os.Stderr, "[%s begins anew, as its type has changed]\n", name)
				continue
			}
			targets[i] = variable.value
			r.known[uint64(i)] = variable.value.Addr()
		}
	}
	for _, target := range targets {
		part := make([]byte, r.number())
		_, _ = io.ReadFull(r, part)
		if target.IsValid() {
			(&k_reader{bytes.NewReader(part), r.known}).readVariable(target)
		}
	}
}

func (r *k_reader) readVariable(target reflect.Value) {
	defer func() {
		if problem := recover(); problem != nil {
			target.Set(reflect.Zero(target.Type()))
			for _, variable := range k_variables {
				if variable.value == target {
					fmt.Fprintf(os.Stderr, "[%s begins anew, as it cannot be read back]\n", variable.name)
				}
			}
		}
	}()
	r.read(target)
}

func (r *k_reader) number() uint64 {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		panic(err)
	}
	return n
}

func (r *k_reader) text() string {
	text := make([]byte, r.number())
	r.fill(text)
	return string(text)
}

func (r *k_reader) fill(space []byte) {
	if _, err := io.ReadFull(r, space); err != nil {
		panic(err)
	}
}

func (r *k_reader) read(value reflect.Value) {
	value = k_open(value)
	t := value.Type()
	if k_isFlat(t) {
		r.fill(k_bytesOf(unsafe.Pointer(value.UnsafeAddr()), int(t.Size())))
		return
	}
	switch t.Kind() {
	case reflect.String:
		value.SetString(r.text())
	case reflect.Pointer:
		r.readShared(value, func() reflect.Value { return reflect.New(t.Elem()) }, func(made reflect.Value) { r.read(made.Elem()) })
	case reflect.Interface:
		r.readDynamic(value)
	case reflect.Slice:
		if r.number() == k_nil {
			return
		}
		length := int(r.number())
		value.Set(reflect.MakeSlice(t, length, length))
		if k_isFlat(t.Elem()) {
			r.fill(k_bytesOf(value.UnsafePointer(), length*int(t.Elem().Size())))
			return
		}
		fallthrough
	case reflect.Array:
		for i := 0; i < value.Len(); i++ {
			r.read(value.Index(i))
		}
	case reflect.Map:
		r.readShared(value, func() reflect.Value { return reflect.MakeMap(t) }, func(made reflect.Value) {
			for left := r.number(); left > 0; left-- {
				key, element := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
				r.read(key)
				r.read(element)
				made.SetMapIndex(key, element)
			}
		})
	case reflect.Struct:
		r.readStruct(value)
	}
}

// readShared reads what several may have: it is made and known before what is in it is read, as that may have it too.
func (r *k_reader) readShared(value reflect.Value, create func() reflect.Value, fill func(reflect.Value)) {
	switch r.number() {
	case k_nil:
	case k_known:
		known, ok := r.known[r.number()]
		if !ok {
			panic(k_lost{})
		}
		value.Set(known.Convert(value.Type()))
	default:
		id := r.number()
		made := create()
		r.known[id] = made
		value.Set(made.Convert(value.Type()))
		fill(made)
	}
}

func (r *k_reader) readStruct(value reflect.Value) {
	by, _ := k_marshalingOf(value.Type())
	pointer := value.Addr().Interface()
	var err error
	switch by {
	case k_byBinary:
		err = pointer.(encoding.BinaryUnmarshaler).UnmarshalBinary([]byte(r.text()))
	case k_byText:
		err = pointer.(encoding.TextUnmarshaler).UnmarshalText([]byte(r.text()))
	case k_asNew:
	default:
		for i := 0; i < value.NumField(); i++ {
			r.read(value.Field(i))
		}
	}
	if err != nil {
		panic(err)
	}
}

func (r *k_reader) readDynamic(value reflect.Value) {
	switch r.number() {
	case k_nil:
	case k_asError:
		value.Set(reflect.ValueOf(&k_error{r.text()}))
	default:
		t, ok := k_types[r.text()]
		if !ok {
			panic(k_lost{})
		}
		made := reflect.New(t).Elem()
		r.read(made)
		value.Set(made)
	}
}
