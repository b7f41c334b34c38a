// A gradient held to a golden file of refnode's: an example of how any language reads one.
//
//     g++ -O2 -std=c++17 -o golden golden.cpp
//     ./golden mild.json gradient.json 1e-6
//
// gradient.json has {leaf: number or array}, as gradient.cpp writes it. Every number passes if
//
//     |g - midpoint| <= radius + tol * scale,   scale the leaf's largest midpoint, or all leaves' if that is zero
//
// Midpoints are decimal and have more digits than a double: they are read as long double, whose rounding is added to the
// radius. The exit status is 0 if all leaves of the gradient pass, 1 if not.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "json.hpp"

vector<double> numbers(const Json& node) {                      // of an array, or of a single number
    if (node.kind == Json::text) return {node.real()};
    vector<double> found;
    for (const Json& item : node["data"].items) found.push_back(item.real());
    return found;
}

struct Leaf {
    vector<long double> mid;
    vector<double> radius;

    explicit Leaf(const Json& node) {
        for (const Json& item : node["mid"].items) mid.push_back(std::strtold(item.words.c_str(), nullptr));
        for (const Json& item : node["radius"].items) radius.push_back(item.real());
        for (size_t i = 0; i < mid.size(); ++i)
            radius[i] += static_cast<double>(std::numeric_limits<long double>::epsilon() * std::fabs(mid[i]));
    }
    double scale() const {
        long double largest = 0;
        for (long double m : mid) largest = std::max(largest, std::fabs(m));
        return static_cast<double>(largest);
    }
};

bool compare(const string& name, const Leaf& leaf, const vector<double>& g, double scale, double tol) {
    if (g.size() != leaf.mid.size()) fail(name + " has another number of entries");
    double worst = 0;
    size_t where = 0;
    bool right = true;
    for (size_t i = 0; i < g.size(); ++i) {
        double off = static_cast<double>(std::fabs(g[i] - leaf.mid[i]));
        if (!(off <= worst)) worst = off, where = i;
        right = right && off <= leaf.radius[i] + tol * scale;   // NaN is not
    }
    double digits = worst > 0 ? std::min(16.0, -std::log10(worst / scale)) : 16.0;
    std::printf("%-12s %5.1f digits  %s\n", name.c_str(), digits, right ? "right" : "WRONG");
    if (!right) std::printf("  entry %zu is %.17g, should be %.21Lg\n", where, g[where], leaf.mid[where]);
    return right;
}

int main(int argc, char** argv) {
    try {
        if (argc != 4) fail("usage: golden golden.json gradient.json tol");
        const string golden = text_of(argv[1]), gradient = text_of(argv[2]);
        const Json file = Parser(golden).document(), mine = Parser(gradient).document();
        const Json& answers = file["answers"];
        if (!answers["format"].is("refnode.answers") || answers["version"].number != 1) fail("another format or version");
        std::printf("%s: %s\n", answers["name"].words.c_str(), answers["kind"].words.c_str());

        double largest = 0;
        for (const auto& [name, node] : answers["gradient"].members) largest = std::max(largest, Leaf(node).scale());
        bool right = !mine.members.empty();
        for (const auto& [name, node] : mine.members) {
            Leaf leaf(answers["gradient"][name]);
            double scale = leaf.scale() > 0 ? leaf.scale() : largest;
            right = compare(name, leaf, numbers(node), scale, std::strtod(argv[3], nullptr)) && right;
        }
        return right ? 0 : 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "golden: %s\n", error.what());
        return 2;
    }
}
