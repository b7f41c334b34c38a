// JSON as far as refnode's files need it: objects, lists, strings without escapes, integers, literals.

#pragma once

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using std::size_t, std::string, std::vector;

[[noreturn]] inline void fail(const string& why) { throw std::runtime_error(why); }

struct Json {
    enum Kind { null, boolean, integer, text, list, object } kind = null;
    long number = 0;                                            // of an integer or a boolean
    string words;
    vector<Json> items;
    std::map<string, Json> members;

    const Json& operator[](const string& key) const {
        auto found = members.find(key);
        if (kind != object || found == members.end()) fail("the problem file has no key " + key);
        return found->second;
    }
    bool is(const char* word) const { return kind == text && words == word; }
    double real() const {
        char* end = nullptr;
        double value = std::strtod(words.c_str(), &end);        // reads hexadecimal floats exactly
        if (kind != text || end == words.c_str() || *end) fail("'" + words + "' is no number");
        return value;
    }
};

class Parser {
  public:
    explicit Parser(const string& source) : s(source) {}
    Json document() {
        Json value = any();
        skip();
        if (at != s.size()) fail("text after the JSON document");
        return value;
    }

  private:
    const string& s;
    size_t at = 0;

    void skip() { while (at < s.size() && std::isspace(static_cast<unsigned char>(s[at]))) ++at; }
    char peek() { skip(); if (at >= s.size()) fail("the JSON document ends early"); return s[at]; }
    void expect(char c) { if (peek() != c) fail(string("expected ") + c + " at byte " + std::to_string(at)); ++at; }
    bool take(char c) { if (peek() != c) return false; ++at; return true; }

    Json any() {
        Json value;
        switch (peek()) {
            case '{': {
                value.kind = Json::object;
                ++at;
                if (take('}')) return value;
                do {
                    string key = characters();
                    expect(':');
                    value.members[key] = any();
                } while (take(','));
                expect('}');
                return value;
            }
            case '[': {
                value.kind = Json::list;
                ++at;
                if (take(']')) return value;
                do value.items.push_back(any()); while (take(','));
                expect(']');
                return value;
            }
            case '"': value.kind = Json::text; value.words = characters(); return value;
            case 't': literal("true"); value.kind = Json::boolean; value.number = 1; return value;
            case 'f': literal("false"); value.kind = Json::boolean; return value;
            case 'n': literal("null"); return value;
        }
        char* end = nullptr;
        value.kind = Json::integer;
        value.number = std::strtol(s.c_str() + at, &end, 10);
        if (end == s.c_str() + at) fail("no JSON at byte " + std::to_string(at));
        at = static_cast<size_t>(end - s.c_str());
        return value;
    }
    string characters() {                                       // problem files need no escapes
        expect('"');
        size_t end = s.find_first_of("\"\\", at);
        if (end == string::npos || s[end] == '\\') fail("a string with escapes, or without an end");
        string found = s.substr(at, end - at);
        at = end + 1;
        return found;
    }
    void literal(const char* word) {
        if (s.compare(at, std::strlen(word), word) != 0) fail("no JSON at byte " + std::to_string(at));
        at += std::strlen(word);
    }
};

inline string text_of(const string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) fail("cannot read " + path);
    std::stringstream buffer;
    buffer << file.rdbuf();
    return buffer.str();
}
