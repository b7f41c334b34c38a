"""Butcher tableaux as data, each with its citation, and the dense output that belongs to it.

One step of the explicit Runge-Kutta method (c, a, b) from (t_n, y_n) with step h:

    k_i = f(t_n + c_i h, y_n + h sum_{j<i} a_ij k_j),    y_{n+1} = y_n + h sum_i b_i k_i,    err = h sum_i b_err_i k_i

HNW in the citations is Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, 2nd edition, 1993.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from refnode.arrays import Array, count, float64
from refnode.errors import InvalidArgument


@dataclass(frozen=True, eq=False)
class Tableau:
    """An explicit Runge-Kutta method with s stages and an interpolant on S dense stages.

    The dense stages are the s stages of the step, then f_new = f(t_{n+1}, y_{n+1}) unless the last stage already is
    that (FSAL), then e stages that only the interpolant needs. Between the steps, in Hairer's form with u = 1 - theta,

        y(t_n + theta h) = y_n + h (theta b + theta u p + theta^2 u q + theta^2 u^2 d_1 + theta^3 u^2 d_2 + ..) . k

    with p = e_first - b and q = 2 b - e_first - e_new: the cubic through y_n, f_n, y_{n+1}, f_{n+1}, which rows d_r
    raise to a higher order without touching those four values. Hence y(t) is C1 across steps, whatever the tableau.

    Parameters
    ----------
    order          of y_{n+1}: local error O(h^(order+1))
    order_dense    of y(theta): local error O(h^(order_dense+1))
    c, a, b        (s,), (s, s) strictly lower triangular, (s,)
    b_err          (s,) b - b_hat, with b_hat the embedded method; None: fixed steps only
    b_err3         (s,) the second error estimate of dop853, else None
    order_err      the error estimate is O(h^(order_err+1)): the order of the embedded method. For dop853, whose two
                   embedded methods have orders 5 and 3, that of Hairer's combination
                   |err5|^2 / sqrt(|err5|^2 + |err3|^2 / 100) = O(h^8), hence 7
    c_extra        (e,) nodes of the further dense stages, f_new not among them
    a_extra        (e, S) their coefficients over all dense stages
    d_dense        (r, S) rows d_1 .. d_r; none: plain cubic Hermite, order_dense = min(order, 3)

    Raises InvalidArgument if shapes disagree, c_1 is not 0, a stage uses itself or a later one, or b_err is half given.
    """

    name: str
    citation: str
    order: int
    order_dense: int
    c: Array
    a: Array
    b: Array
    b_err: Array | None = None
    b_err3: Array | None = None
    order_err: int | None = None
    c_extra: Array = field(default_factory=lambda: np.zeros(0))
    a_extra: Array = field(default_factory=lambda: np.zeros((0, 0)))
    d_dense: Array = field(default_factory=lambda: np.zeros((0, 0)))

    def __post_init__(self) -> None:
        s, e = np.size(self.c), np.size(self.c_extra)
        shapes = {"c": (s,), "a": (s, s), "b": (s,), "b_err": (s,), "b_err3": (s,), "c_extra": (e,)}
        for name, shape in shapes.items():
            if getattr(self, name) is not None or not name.startswith("b_err"):
                self._keep(name, getattr(self, name), shape)
        for name in ("order", "order_dense") if self.order_err is None else ("order", "order_dense", "order_err"):
            count(f"{self.name}.{name}", getattr(self, name))
        if self.c[:1].tolist() != [0.0]:
            raise InvalidArgument(f"{self.name}.c", self.c, "nodes of which the first is 0, the step's start")
        S = self.dense_stages
        self._keep("a_extra", self.a_extra if np.size(self.a_extra) else np.zeros((0, S)), (e, S))
        self._keep("d_dense", self.d_dense if np.size(self.d_dense) else np.zeros((0, S)), (None, S))
        if np.triu(self.a).any() or np.triu(self.a_extra, k=S - e).any():
            raise InvalidArgument(f"{self.name}.a", "a stage that uses itself or a later one", "explicit")
        if (self.b_err is None) != (self.order_err is None) or (self.b_err is None and self.b_err3 is not None):
            raise InvalidArgument(f"{self.name}.order_err", self.order_err, "given exactly with b_err; b_err3 likewise")

    def _keep(self, name: str, value: Array, shape: tuple[int | None, ...]) -> None:
        """Store a checked read-only copy; object.__setattr__ is how a frozen dataclass completes itself."""
        object.__setattr__(self, name, float64(f"{self.name}.{name}", value, shape))

    @property
    def stages(self) -> int:
        """s, the stages of one step."""
        return self.c.size

    @property
    def fsal(self) -> bool:
        """First same as last: the last stage is f(t_{n+1}, y_{n+1}), the next step's first."""
        return bool(self.c[-1] == 1) and np.array_equal(self.a[-1], self.b)

    @property
    def adaptive(self) -> bool:
        """Whether an error estimate comes with the step."""
        return self.b_err is not None

    @property
    def dense_stages(self) -> int:
        """S, the stages the interpolant uses: the step's, f_new, the extra ones."""
        return self.new_stage + 1 + self.c_extra.size

    @property
    def new_stage(self) -> int:
        """Index of f_new = f(t_{n+1}, y_{n+1}) among the dense stages."""
        return self.stages - 1 if self.fsal else self.stages

    @cached_property
    def extra(self) -> tuple[Array, Array]:
        """Nodes (S-s,) and coefficients (S-s, S) of the dense stages beyond s, in turn: f_new first if not FSAL."""
        if self.fsal:
            return self.c_extra, self.a_extra
        c, a = np.append(1.0, self.c_extra), np.concatenate([_matrix(self.dense_stages, self.b), self.a_extra])
        return float64("c", c), float64("a", a)

    @cached_property
    def dense_rows(self) -> Array:
        """The rows b, p, q, d_1 .. d_r of the interpolant, (3+r, S)."""
        e_first, e_new = np.eye(self.dense_stages)[[0, self.new_stage]]
        b = np.append(self.b, np.zeros(self.dense_stages - self.stages))
        return float64("dense_rows", np.stack([b, e_first - b, 2 * b - e_first - e_new, *self.d_dense]))

    def dense_weights(self, theta: Array | float | complex) -> Array:
        """Weights w with y(t_n + theta h) = y_n + h sum_i w_i k_i over the dense stages.

        Parameters
        ----------
        theta      () or (b,), fraction of the step; complex is allowed. Beyond [0, 1] it extrapolates: not recommended.

        Returns
        -------
        w          (S,) or (b, S); w(0) = 0 and w(1) = b to the last bit
        """
        return _dense_basis(np.asarray(theta), len(self.dense_rows)) @ self.dense_rows  # (.., S)


def _dense_basis(theta: Array, n: int) -> Array:  # theta (..)
    """theta, theta (1-theta), theta^2 (1-theta), theta^2 (1-theta)^2, ..: one more factor each, in turn."""
    basis = [theta]
    for r in range(1, n):
        basis.append(basis[-1] * ((1 - theta) if r % 2 else theta))
    return np.stack(basis, axis=-1)  # (.., n)


def _matrix(width: int, *rows: Sequence[float] | Array) -> Array:
    """Rows of unequal length as one matrix, zeros to the right: a triangle is written without its empty half."""
    return np.array([[*row, *[0.0] * (width - len(row))] for row in rows])


# The tables keep their columns. In rational ones every entry is a quotient of integers, hence rounded once.
# fmt: off

EULER = Tableau(
    name="euler", order=1, order_dense=1, citation="Euler, Institutionum calculi integralis I, 1768; HNW sec. I.7",
    c=np.array([0]), a=_matrix(1, []), b=np.array([1]),
)

MIDPOINT = Tableau(
    name="midpoint", order=2, order_dense=2, citation="Runge, Math. Ann. 46, 1895, 167-178; HNW sec. II.1",
    c=np.array([0, 1/2]), a=_matrix(2, [], [1/2]), b=np.array([0, 1]),
)

HEUN = Tableau(  # the explicit trapezoidal rule; Heun's third-order method is another one
    name="heun", order=2, order_dense=2, citation="Heun, Z. Math. Phys. 45, 1900, 23-38; HNW sec. II.1",
    c=np.array([0, 1]), a=_matrix(2, [], [1]), b=np.array([1/2, 1/2]),
)

RK4 = Tableau(
    name="rk4", order=4, order_dense=3, citation="Kutta, Z. Math. Phys. 46, 1901, 435-453; HNW table II.1.2, left",
    c=np.array([0, 1/2, 1/2, 1]),
    a=_matrix(4, [],
                 [1/2],
                 [  0, 1/2],
                 [  0,   0,   1]),
    b=np.array(  [1/6, 2/6, 2/6, 1/6]),
)

RK4_38 = Tableau(  # the 3/8 rule
    name="rk4_38", order=4, order_dense=3, citation="Kutta, Z. Math. Phys. 46, 1901, 435-453; HNW table II.1.2, right",
    c=np.array([0, 1/3, 2/3, 1]),
    a=_matrix(4, [],
                 [ 1/3],
                 [-1/3,   1],
                 [   1,  -1,   1]),
    b=np.array(  [ 1/8, 3/8, 3/8, 1/8]),
)

BOSH3 = Tableau(
    name="bosh3", order=3, order_dense=3, order_err=2, citation="Bogacki, Shampine, Appl. Math. Lett. 2, 1989, 321-325",
    c=np.array([0, 1/2, 3/4, 1]),
    a=_matrix(4, [],
                 [1/2],
                 [  0, 3/4],
                 [2/9, 1/3, 4/9]),
    b=np.array(  [2/9, 1/3, 4/9, 0]),
    b_err=np.array([-5/72, 1/12, 1/9, -1/8]),
)

# b_err is e1, e3 .. e7 of dopri5.f; d_dense is its d1, d3 .. d7, due to Shampine, Math. Comp. 46, 1986, 135-150.
DOPRI5 = Tableau(
    name="dopri5", order=5, order_dense=4, order_err=4,
    citation="Dormand, Prince, J. Comput. Appl. Math. 6, 1980, 19-26; HNW table II.5.2; Hairer's code dopri5.f",
    c=np.array([0, 1/5, 3/10, 4/5, 8/9, 1, 1]),
    a=_matrix(7, [],
                 [       1/5],
                 [      3/40,         9/40],
                 [     44/45,       -56/15,       32/9],
                 [19372/6561,  -25360/2187, 64448/6561, -212/729],
                 [ 9017/3168,      -355/33, 46732/5247,   49/176, -5103/18656],
                 [    35/384,            0,   500/1113,  125/192,  -2187/6784, 11/84]),
    b=np.array(  [    35/384,            0,   500/1113,  125/192,  -2187/6784, 11/84, 0]),
    b_err=np.array([71/57600, 0, -71/16695, 71/1920, -17253/339200, 22/525, -1/40]),
    d_dense=_matrix(7, [-12715105075/11282082432, 0, 87487479700/32700410799, -10690763975/1880347072,
                        701980252875/199316789632, -1453857185/822651844, 69997945/29380423]),
)

# The shortest decimals of the doubles next to 80 digits with which, in rational arithmetic, the order conditions of
# both methods hold to 1e-82. The paper's interpolant is a C1 quartic, so d_1 is the coefficient of theta^4 in its b_i;
# with the paper's digits its order conditions hold to 5e-17.
TSIT5 = Tableau(
    name="tsit5", order=5, order_dense=4, order_err=4, citation="Tsitouras, Comput. Math. Appl. 62, 2011, 770-775",
    c=np.array([0, 0.161, 0.327, 0.9, 0.9800255409045097, 1, 1]),
    a=_matrix(7, [],
        [0.161], [-0.008480655492356989, 0.335480655492357],
        [2.8971530571054935, -6.359448489975075, 4.3622954328695815],
        [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525],
        [5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383],
        [0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774]),
    b=np.array(
        [0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774, 0]),
    b_err=np.array([0.0017800110522257714, 0.0008164344596567469, -0.007880878010261995,
                    0.1447110071732629, -0.5823571654525552, 0.45808210592918697, -1/66]),
    d_dense=_matrix(7, [-1.0530884977290216, 0.1017, 2.490627285651253, -16.548102889244902,
                        47.37952196281928, -34.87065786149661, 2.5]),
)

# The shortest decimals of the doubles next to the 30 digits of dop853.f. There f_new is a thirteenth stage, but both
# error estimates give it weight zero: they live on the s = 12 stages. b_err is er1 .. er12 with the code's sign, which
# no order condition fixes; b_err3 = b - b_hat3 with b_hat3 = bhh1 .. bhh3; d_dense is d4_* .. d7_*.
DOP853_B = np.array([0.054293734116568765, 0, 0, 0, 0, 4.450312892752409, 1.8915178993145003, -5.801203960010585,
                     0.3111643669578199, -0.1521609496625161, 0.20136540080403034, 0.04471061572777259])
DOP853 = Tableau(
    name="dop853", order=8, order_dense=7, order_err=7,
    citation="Prince, Dormand, J. Comput. Appl. Math. 7, 1981, 67-75; Hairer, dop853.f; HNW sec. II.5, II.6, II.10",
    c=np.array([0, 0.05260015195876773, 0.0789002279381516, 0.1183503419072274, 0.2816496580927726,
                1/3, 1/4, 4/13, 127/195, 3/5, 6/7, 1]),
    a=_matrix(12, [],
        [0.05260015195876773], [0.0197250569845379, 0.0591751709536137], [0.02958758547680685, 0, 0.08876275643042054],
        [0.2413651341592667, 0, -0.8845494793282861, 0.924834003261792],
        [1/27, 0, 0, 0.17082860872947386, 0.12546768756682242],
        [19/512, 0, 0, 0.17025221101954405, 0.06021653898045596, -9/512],
        [0.03709200011850479, 0, 0, 0.17038392571223998, 0.10726203044637328, -0.015319437748624402,
         0.008273789163814023],
        [0.6241109587160757, 0, 0, -3.3608926294469414, -0.868219346841726, 27.59209969944671, 20.154067550477894,
         -43.48988418106996],
        [0.47766253643826434, 0, 0, -2.4881146199716677, -0.590290826836843, 21.230051448181193, 15.279233632882423,
         -33.28821096898486, -0.020331201708508627],
        [-0.9371424300859873, 0, 0, 5.186372428844064, 1.0914373489967295, -8.149787010746927, -18.52006565999696,
         22.739487099350505, 2.4936055526796523, -3.0467644718982196],
        [2.273310147516538, 0, 0, -10.53449546673725, -2.0008720582248625, -17.9589318631188, 27.94888452941996,
         -2.8589982771350235, -8.87285693353063, 12.360567175794303, 0.6433927460157636]),
    b=DOP853_B,
    b_err=np.array([0.01312004499419488, 0, 0, 0, 0, -1.2251564463762044, -0.4957589496572502, 1.6643771824549864,
                    -0.35032884874997366, 0.3341791187130175, 0.08192320648511571, -0.022355307863886294]),
    b_err3=DOP853_B - [31/127, 0, 0, 0, 0, 0, 0, 0, 12675/17272, 0, 0, 3/136],
    c_extra=np.array([1/10, 1/5, 7/9]), a_extra=_matrix(16,
        [0.056167502283047954, 0, 0, 0, 0, 0, 0.25350021021662483, -0.2462390374708025, -0.12419142326381637,
         0.15329179827876568, 0.00820105229563469, 0.007567897660545699, -0.008298],
        [0.03183464816350214, 0, 0, 0, 0, 0.028300909672366776, 0.053541988307438566, -0.05492374857139099, 0, 0,
         -0.00010834732869724932, 0.0003825710908356584, -0.00034046500868740456, 0.1413124436746325],
        [-0.42889630158379194, 0, 0, 0, 0, -4.697621415361164, 7.683421196062599, 4.06898981839711, 0.3567271874552811,
         0, 0, 0, -0.0013990241651590145, 2.9475147891527724, -9.15095847217987]),
    d_dense=_matrix(16,
        [-8.428938276109013, 0, 0, 0, 0, 0.5667149535193777, -3.0689499459498917, 2.38466765651207, 2.117034582445028,
         -0.871391583777973, 2.2404374302607883, 0.6315787787694688, -0.08899033645133331, 18.148505520854727,
         -9.194632392478356, -4.436036387594894],
        [10.427508642579134, 0, 0, 0, 0, 242.28349177525817, 165.20045171727028, -374.5467547226902,
         -22.113666853125306, 7.733432668472264, -30.674084731089398, -9.332130526430229, 15.697238121770845,
         -31.139403219565178, -9.35292435884448, 35.81684148639408],
        [19.985053242002433, 0, 0, 0, 0, -387.0373087493518, -189.17813819516758, 527.8081592054236,
         -11.57390253995963, 6.8812326946963, -1.0006050966910838, 0.7777137798053443, -2.778205752353508,
         -60.19669523126412, 84.32040550667716, 11.99229113618279],
        [-25.69393346270375, 0, 0, 0, 0, -154.18974869023643, -231.5293791760455, 357.6391179106141, 93.40532418362432,
         -37.45832313645163, 104.0996495089623, 29.8402934266605, -43.53345659001114, 96.32455395918828,
         -39.17726167561544, -149.72683625798564]),
)

# fmt: on

METHODS = (EULER, MIDPOINT, HEUN, RK4, RK4_38, BOSH3, DOPRI5, TSIT5, DOP853)
TABLEAUX: Mapping[str, Tableau] = {method.name: method for method in METHODS}


def tableau(name: str) -> Tableau:
    """The tableau of that name, or InvalidArgument with the names there are."""
    if name not in TABLEAUX:
        raise InvalidArgument("tableau", repr(name), "one of " + ", ".join(map(repr, TABLEAUX)))
    return TABLEAUX[name]
