// The gradient of a neural ODE by hand, without dependencies: an example of a program that refnode can grade.
//
//     g++ -O2 -std=c++17 -o gradient gradient.cpp
//     refnode grade --exec "./gradient {problem} {tol} {out}" --problems mild,concat_time
//
// Reads a refnode problem file: an MLP field (any activation, biases, time input, skip term), z(t0) = x, a squared error
// at T and running losses |z|^2. Solves it by the method of Dormand and Prince, one step size for the batch, and
// differentiates every accepted step backwards:
//
//     k_i = F(t + c_i h, Y_i),   Y_i = y + h sum_j a_ij k_j,   y_new = y + h sum_i b_i k_i
//     g_k_i = h (b_i g + sum_{j>i} a_ji g_Y_j),   g_Y_i = (dF/dy)^T g_k_i,   g <- g + sum_i g_Y_i
//
// Step ends t_n keep their fractions of [t0, T]: so both ends have a gradient too. Rows are samples, y = x W + b.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "json.hpp"

// ---------------------------------------------------------------- matrices, row by row

struct Matrix {
    size_t rows = 0, cols = 0;
    vector<double> v;

    Matrix() = default;
    Matrix(size_t r, size_t c) : rows(r), cols(c), v(r * c, 0.0) {}
    double& operator()(size_t i, size_t j) { return v[i * cols + j]; }
    double operator()(size_t i, size_t j) const { return v[i * cols + j]; }
    void add(double factor, const Matrix& other) { for (size_t i = 0; i < v.size(); ++i) v[i] += factor * other.v[i]; }
};

Matrix array_of(const Json& node) {                             // a vector (n,) becomes one row (1, n)
    const Json &shape = node["shape"], &data = node["data"];
    if (shape.items.empty() || shape.items.size() > 2) fail("an array of more than two axes");
    size_t cols = static_cast<size_t>(shape.items.back().number);
    Matrix m(shape.items.size() == 2 ? static_cast<size_t>(shape.items[0].number) : 1, cols);
    if (data.items.size() != m.v.size()) fail("an array whose data do not fit its shape");
    for (size_t i = 0; i < m.v.size(); ++i) m.v[i] = data.items[i].real();
    return m;
}

Matrix times(const Matrix& A, const Matrix& B) {                // A B
    Matrix C(A.rows, B.cols);
    for (size_t i = 0; i < A.rows; ++i)
        for (size_t k = 0; k < A.cols; ++k)
            for (size_t j = 0; j < B.cols; ++j) C(i, j) += A(i, k) * B(k, j);
    return C;
}

Matrix times_transposed(const Matrix& A, const Matrix& B) {     // A B^T
    Matrix C(A.rows, B.rows);
    for (size_t i = 0; i < A.rows; ++i)
        for (size_t j = 0; j < B.rows; ++j)
            for (size_t k = 0; k < A.cols; ++k) C(i, j) += A(i, k) * B(j, k);
    return C;
}

void add_transposed_times(Matrix& C, const Matrix& A, const Matrix& B) {     // C += A^T B
    for (size_t k = 0; k < A.rows; ++k)
        for (size_t i = 0; i < A.cols; ++i)
            for (size_t j = 0; j < B.cols; ++j) C(i, j) += A(k, i) * B(k, j);
}

// ---------------------------------------------------------------- the field f(t, z), forwards and backwards

struct Activation {
    string name;
    double value(double u) const {
        if (name == "tanh") return std::tanh(u);
        if (name == "softplus") return std::max(u, 0.0) + std::log1p(std::exp(-std::abs(u)));
        if (name == "sin") return std::sin(u);
        if (name == "sigmoid") return 1 / (1 + std::exp(-u));
        if (name == "relu") return std::max(u, 0.0);
        return u;
    }
    double slope(double u) const {
        if (name == "tanh") { double h = std::tanh(u); return (1 - h) * (1 + h); }
        if (name == "softplus") return 1 / (1 + std::exp(-u));
        if (name == "sin") return std::cos(u);
        if (name == "sigmoid") { double h = 1 / (1 + std::exp(-u)); return h * (1 - h); }
        if (name == "relu") return u > 0 ? 1.0 : 0.0;
        return 1.0;
    }
};

using Leaves = std::map<string, Matrix>;

struct Field {
    size_t depth = 0;
    bool bias = true, skip = false;
    string time;
    Activation act;
    Leaves leaf;                                                // W0, b0, .., A

    bool takes_time(size_t k) const { return time == "every" || (time == "first" && k == 0); }

    Matrix with_time(const Matrix& h, double t) const {         // [h, t]
        Matrix out(h.rows, h.cols + 1);
        for (size_t i = 0; i < h.rows; ++i) {
            std::copy_n(&h.v[i * h.cols], h.cols, &out(i, 0));
            out(i, h.cols) = t;
        }
        return out;
    }

    // inputs h_k and pre-activations u_k of every layer; f is the last u_k (plus z A)
    Matrix forward(double t, const Matrix& z, vector<Matrix>& inputs, vector<Matrix>& pre) const {
        Matrix h = z;
        for (size_t k = 0; k < depth; ++k) {
            if (k > 0) {
                h = pre.back();
                for (double& u : h.v) u = act.value(u);
            }
            if (takes_time(k)) h = with_time(h, t);
            Matrix u = times(h, leaf.at("W" + std::to_string(k)));
            if (bias) {
                const Matrix& b = leaf.at("b" + std::to_string(k));
                for (size_t i = 0; i < u.rows; ++i)
                    for (size_t j = 0; j < u.cols; ++j) u(i, j) += b(0, j);
            }
            inputs.push_back(h);
            pre.push_back(u);
        }
        Matrix f = pre.back();
        if (skip) f.add(1.0, times(z, leaf.at("A")));
        return f;
    }

    // for the cotangent g of f: returns that of z, adds those of the leaves, and the sum over samples of that of t
    Matrix backward(double t, const Matrix& z, Matrix g, Leaves& grads, double& g_t) const {
        vector<Matrix> inputs, pre;
        forward(t, z, inputs, pre);
        Matrix g_z(z.rows, z.cols), g_h;
        if (skip) {
            add_transposed_times(grads.at("A"), z, g);
            g_z = times_transposed(g, leaf.at("A"));
        }
        for (size_t k = depth; k-- > 0;) {
            string n = std::to_string(k);
            if (bias)
                for (size_t i = 0; i < g.rows; ++i)
                    for (size_t j = 0; j < g.cols; ++j) grads.at("b" + n)(0, j) += g(i, j);
            add_transposed_times(grads.at("W" + n), inputs[k], g);
            g_h = times_transposed(g, leaf.at("W" + n));
            if (takes_time(k)) {
                Matrix rest(g_h.rows, g_h.cols - 1);
                for (size_t i = 0; i < g_h.rows; ++i) {
                    std::copy_n(&g_h.v[i * g_h.cols], rest.cols, &rest.v[i * rest.cols]);
                    g_t += g_h(i, rest.cols);
                }
                g_h = rest;
            }
            if (k > 0) {
                g = g_h;
                for (size_t i = 0; i < g.v.size(); ++i) g.v[i] *= act.slope(pre[k - 1].v[i]);
            }
        }
        g_z.add(1.0, g_h);
        return g_z;
    }
};

// ---------------------------------------------------------------- the problem

struct Problem {
    Field field;
    Matrix x, target;
    double t0 = 0, T = 1, scale = 1, terminal = 1, running = 0;  // factors: weight, over b for a mean

    // F = [f, running |z|^2] for y = [z, q]
    Matrix rate(double t, const Matrix& y) const {
        vector<Matrix> inputs, pre;
        Matrix z = state(y), f = field.forward(t, z, inputs, pre), F(y.rows, y.cols);
        for (size_t i = 0; i < y.rows; ++i)
            for (size_t j = 0; j < z.cols; ++j) {
                F(i, j) = f(i, j);
                F(i, z.cols) += running * z(i, j) * z(i, j);
            }
        return F;
    }
    Matrix state(const Matrix& y) const {
        Matrix z(y.rows, y.cols - 1);
        for (size_t i = 0; i < z.rows; ++i) std::copy_n(&y.v[i * y.cols], z.cols, &z.v[i * z.cols]);
        return z;
    }
    Matrix beside(const Matrix& z) const {                      // [z, 0]
        Matrix y(z.rows, z.cols + 1);
        for (size_t i = 0; i < z.rows; ++i) std::copy_n(&z.v[i * z.cols], z.cols, &y(i, 0));
        return y;
    }
    // the vjp of F: cotangent of y; leaves and t are added to
    Matrix rate_vjp(double t, const Matrix& y, const Matrix& g, Leaves& grads, double& g_t) const {
        Matrix z = state(y), g_z = field.backward(t, z, state(g), grads, g_t);
        for (size_t i = 0; i < z.rows; ++i)
            for (size_t j = 0; j < z.cols; ++j) g_z(i, j) += 2 * running * g(i, z.cols) * z(i, j);
        return beside(g_z);
    }
};

double factor_of(const Json& term, size_t batch) {
    return term["weight"].real() / (term["reduction"].is("mean") ? static_cast<double>(batch) : 1.0);
}

Problem problem_of(const Json& file) {
    const Json &model = file["model"], &field = model["field"], &loss = file["loss"];
    bool plain = model["h_x"]["kind"].is("identity") && model["h_y"]["kind"].is("identity") &&
                 model["order"].number == 1 && model["control"].is("none") && model["depth"]["kind"].is("constant");
    if (!field["kind"].is("mlp") || !plain) fail("only plain MLP models are supported");
    if (loss["observations"].kind != Json::null) fail("observations are not supported");
    if (file["span"]["T"].kind != Json::text || file["span"]["t0"].kind != Json::text)
        fail("spans per sample are not supported");

    Problem p;
    p.field.depth = field["widths"].items.size() - 1;
    p.field.bias = field["bias"].number != 0;
    p.field.skip = field["skip"].number != 0;
    p.field.time = field["time"].words;
    p.field.act.name = field["act"].words;
    for (const auto& [name, node] : file["params"].members) p.field.leaf[name.substr(6)] = array_of(node);   // theta.
    p.x = array_of(file["x"]);
    p.t0 = file["span"]["t0"].real();
    p.T = file["span"]["T"].real();
    p.scale = loss["scale"].real();

    const Json& terminal = loss["terminal"];
    p.target = Matrix(p.x.rows, p.x.cols);
    p.terminal = 0;
    if (terminal.kind != Json::null) {
        if (!terminal["kind"].is("squared_error")) fail("only a squared error is supported at T");
        Matrix given = array_of(terminal["target"]);
        for (size_t i = 0; i < p.x.rows; ++i)
            for (size_t j = 0; j < p.x.cols; ++j) p.target(i, j) = given(given.rows == 1 ? 0 : i, j);
        p.terminal = factor_of(terminal, p.x.rows);
    }
    for (const Json& term : loss["running"].items) {
        if (!term["kind"].is("squared_norm")) fail("only |z|^2 is supported as a running loss");
        p.running += factor_of(term, p.x.rows);
    }
    return p;
}

// ---------------------------------------------------------------- Dormand and Prince 1980, order 5 with an estimate of order 4

const int S = 7;
const double c[S] = {0, 1.0 / 5, 3.0 / 10, 4.0 / 5, 8.0 / 9, 1, 1};
const double a[S][S] = {
    {0},
    {1.0 / 5},
    {3.0 / 40, 9.0 / 40},
    {44.0 / 45, -56.0 / 15, 32.0 / 9},
    {19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729},
    {9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656},
    {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84}};
const double b[S] = {35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84, 0};
const double b_err[S] = {71.0 / 57600, 0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40};

struct Step {
    double s, s_new;                                            // fractions of [t0, T]
    Matrix y;
    vector<Matrix> k;
};

Matrix combined(const Matrix& y, double h, const double* weights, const vector<Matrix>& k) {
    Matrix out = y;
    for (size_t j = 0; j < k.size(); ++j)
        if (weights[j] != 0) out.add(h * weights[j], k[j]);
    return out;
}

vector<Step> solve(const Problem& p, double tol, Matrix& y) {
    const double length = p.T - p.t0;
    vector<Step> steps;
    double s = 0, ds = 0.01;
    for (int attempts = 0; s < 1; ++attempts) {
        if (attempts > 1000000) fail("too many steps");
        double s_new = s + 1.01 * ds >= 1 ? 1 : s + ds, h = (s_new - s) * length, t = (1 - s) * p.t0 + s * p.T;
        if (!(s_new > s)) fail("the step became too small");
        vector<Matrix> k;
        for (int i = 0; i < S; ++i) k.push_back(p.rate(t + c[i] * h, combined(y, h, a[i], k)));
        Matrix y_new = combined(y, h, b, k), e(y.rows, y.cols);
        for (int i = 0; i < S; ++i) e.add(h * b_err[i], k[static_cast<size_t>(i)]);
        double sum = 0;
        for (size_t i = 0; i < e.v.size(); ++i) {
            double allowed = tol * (1 + std::max(std::abs(y.v[i]), std::abs(y_new.v[i])));
            sum += e.v[i] * e.v[i] / (allowed * allowed);
        }
        double err = std::sqrt(sum / static_cast<double>(e.v.size()));
        if (err <= 1) {
            steps.push_back({s, s_new, y, k});
            y = y_new;
            s = s_new;
        }
        ds *= std::isfinite(err) ? std::clamp(0.9 * std::pow(std::max(err, 1e-10), -0.2), 0.2, 10.0) : 0.1;
    }
    return steps;
}

// ---------------------------------------------------------------- the discrete adjoint

struct Gradient {
    Leaves leaf;
    Matrix x;
    double t0 = 0, T = 0;
};

Gradient gradient(const Problem& p, double tol) {
    Matrix y = p.beside(p.x);
    vector<Step> steps = solve(p, tol, y);

    Gradient out;
    for (const auto& [name, W] : p.field.leaf) out.leaf[name] = Matrix(W.rows, W.cols);
    Matrix g(y.rows, y.cols);
    for (size_t i = 0; i < y.rows; ++i) {
        for (size_t j = 0; j < p.x.cols; ++j) g(i, j) = p.scale * p.terminal * 2 * (y(i, j) - p.target(i, j));
        g(i, p.x.cols) = p.scale;
    }

    const double length = p.T - p.t0;
    for (size_t n = steps.size(); n-- > 0;) {
        const Step& step = steps[n];
        double h = (step.s_new - step.s) * length, t = (1 - step.s) * p.t0 + step.s * p.T, g_t = 0, g_h = 0;
        vector<Matrix> g_Y(S);
        Matrix g_y = g;
        for (int i = S; i-- > 0;) {
            Matrix g_k(g.rows, g.cols), slope(g.rows, g.cols);  // slope: sum_j a_ij k_j
            g_k.add(h * b[i], g);
            for (int j = i + 1; j < S; ++j) g_k.add(h * a[j][i], g_Y[static_cast<size_t>(j)]);
            for (int j = 0; j < i; ++j) slope.add(a[i][j], step.k[static_cast<size_t>(j)]);
            Matrix Y = step.y;
            Y.add(h, slope);
            double g_ti = 0;
            Matrix g_Yi = p.rate_vjp(t + c[i] * h, Y, g_k, out.leaf, g_ti);
            g_t += g_ti;
            g_h += c[i] * g_ti;
            for (size_t m = 0; m < g.v.size(); ++m)
                g_h += b[i] * g.v[m] * step.k[static_cast<size_t>(i)].v[m] + g_Yi.v[m] * slope.v[m];
            g_y.add(1.0, g_Yi);
            g_Y[static_cast<size_t>(i)] = g_Yi;
        }
        g = g_y;
        out.t0 += (1 - step.s) * g_t - (step.s_new - step.s) * g_h;
        out.T += step.s * g_t + (step.s_new - step.s) * g_h;
    }
    out.x = p.state(g);
#ifdef PLANT_BUG
    out.t0 = -out.t0;                                           // a mistake to be found: dloss/dt0 = -H(t0), not H(t0)
#endif
    return out;
}

// ---------------------------------------------------------------- files

void write_number(std::ostream& out, double value) {
    char text[64];
    std::snprintf(text, sizeof text, "\"%a\"", value);
    out << text;
}

void write_array(std::ostream& out, const string& name, const Matrix& m, bool row) {
    out << " \"" << name << "\": {\"shape\": [";
    if (!row) out << m.rows << ", ";
    out << m.cols << "], \"data\": [";
    for (size_t i = 0; i < m.v.size(); ++i) {
        if (i) out << ", ";
        write_number(out, m.v[i]);
    }
    out << "]},\n";
}

int main(int argc, char** argv) {
    try {
        if (argc != 4) fail("usage: gradient problem.json tol out.json");
        const string source = text_of(argv[1]);
        char* end = nullptr;
        double tol = std::strtod(argv[2], &end);
        if (*end || !(tol > 0)) fail(string("tol must be a number > 0, not ") + argv[2]);

        Gradient g = gradient(problem_of(Parser(source).document()), tol);
        std::ofstream out(argv[3], std::ios::binary);
        out << "{\n";
        for (const auto& [name, m] : g.leaf) write_array(out, "theta." + name, m, name[0] == 'b');
        write_array(out, "x", g.x, false);
        out << " \"t0\": ";
        write_number(out, g.t0);
        out << ",\n \"T\": ";
        write_number(out, g.T);
        out << "\n}\n";
        if (!out.flush()) fail(string("cannot write ") + argv[3]);
        return 0;
    } catch (const std::exception& error) {
        std::cerr << "gradient: " << error.what() << "\n";
        return 1;
    }
}
