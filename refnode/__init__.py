"""refnode: the gradient of a Neural ODE by many independent methods, each certified to its digits.

| equation                                        | symbol       | here                                 | file         |
|-------------------------------------------------|--------------|--------------------------------------|--------------|
| (1) z' = f(t, z, theta), z(t0) = x              | f, z, theta  | MLP, UserField, NeuralODE            | field.py     |
| (2) z(T) = ODESolve(..)                         | z(T)         | solve, Solver, rk_step               | integrate.py |
| (3) loss = L(z(T)) + int l dt                   | L, l         | Loss, Kinetic, Tracking              | loss.py      |
| (3) a' = -(df/dz)^T a - dl/dz                   | a            | gradient                             | gradients/   |
| (3) -log p(x), l = -tr(df/dz)                   | l            | CNF, Divergence, StandardNormal      | flows.py     |
| (4) theta(t) = theta_i on [s_i, s_i+1]          | theta_i, s_i | Stacked, StackedNODE                 | depth.py     |
| (5) dloss/dtheta(t) = a^T df/dtheta + dl/dtheta | theta(t)     | FunctionSpace                        | depth.py     |
| (5) descent: r = G^-1 dloss/dalpha              | G            | riesz, gram                          | descent.py   |
| (6) theta(t) = sum_j alpha_j psi_j(t)           | alpha, psi   | Galerkin, GalNODE, Fourier, Legendre | bases.py     |
| (7) z(t0) = [x, 0]                              | h_x          | ZeroAugment, ANODE                   | maps.py      |
| (8) z(t0) = h_x(x)                              | h_x, h_y     | Linear, MLP, PartialInput, ILNODE    | maps.py      |
| (9) z_q'' = f                                   | z_q, z_p     | NeuralODE(order=2), SecondOrderNODE  | dynamics.py  |
| (10) z' = f(t, z, x, theta)                     | x            | DataControlledNODE                   | dynamics.py  |
| adaptive depth, T_i = g_w(x_i)                  | g_w          | AdaptiveDepth, AdaptiveNODE          | adaptive.py  |
"""

from refnode.adaptive import AdaptiveDepth
from refnode.api import Solution, compare, digits, digits_left, gradient, solve
from refnode.architectures import (
    ANODE,
    ILNODE,
    AdaptiveNODE,
    DataControlledNODE,
    GalNODE,
    NeuralODE,
    SecondOrderNODE,
    StackedNODE,
)
from refnode.bases import Chebyshev, Fourier, GaussianRBF, Hat, Legendre, Monomial, PiecewiseConstant
from refnode.check import check_field
from refnode.dense_costate import Costate, costate
from refnode.depth import Constant, FunctionSpace, Galerkin, Stacked
from refnode.descent import Gram, gram, riesz
from refnode.divergence import Divergence
from refnode.errors import (
    BackendUnavailable,
    InvalidArgument,
    NonFiniteState,
    NotEnoughDigits,
    NotProvable,
    NumericalError,
    ProblemFileError,
    ProgramFailed,
    RefnodeError,
    StepUnderflow,
    TooManySteps,
    TrainingDiverged,
    UnreliableGradient,
)
from refnode.field import MLP, Linear
from refnode.fields import CosineField, UserField
from refnode.flows import CNF
from refnode.gradients import METHODS, GradientResult, Stats, method_table
from refnode.loss import (
    CrossEntropy,
    LinearFunctional,
    Loss,
    Observations,
    SquaredError,
    StandardNormal,
    UserLoss,
    observe,
)
from refnode.maps import Columns, Identity, PartialInput, ZeroAugment
from refnode.model import Model
from refnode.model_file import export_weights, load_model, save_model
from refnode.oracle.certificate import certify
from refnode.oracle.golden.document import Golden
from refnode.oracle.golden.shelf import golden
from refnode.oracle.grading import assert_gradient, grade
from refnode.oracle.ladder import reference
from refnode.oracle.problems import catalogue
from refnode.oracle.truth import Truth
from refnode.problem import Problem
from refnode.problem_file import load_problem
from refnode.proposal import hand_on
from refnode.result_file import save_result
from refnode.running import (
    Harmonic,
    Kinetic,
    ParameterNorm,
    RunningArgs,
    SquaredNorm,
    Tracking,
    UserRunning,
    no_cotangent,
)
from refnode.solver import Controller, Solver
from refnode.tableau import TABLEAUX, Tableau
from refnode.torchdyn_bases import (
    TorchdynChebychev,
    TorchdynFourier,
    TorchdynGaussianRBF,
    TorchdynMultiquadRBF,
    TorchdynPolynomial,
    TorchdynVanillaRBF,
)
from refnode.train.batches import Batches
from refnode.train.checkpoint import load_checkpoint
from refnode.train.lbfgs import LBFGS
from refnode.train.loop import Run, fit
from refnode.train.optimisers import SGD, Adam, AdamW
from refnode.train.schedules import Cosine, StepDecay, Warmup

__version__ = "0.1.0"

__all__ = [
    "ANODE",
    "CNF",
    "ILNODE",
    "LBFGS",
    "METHODS",
    "MLP",
    "SGD",
    "TABLEAUX",
    "Adam",
    "AdamW",
    "AdaptiveDepth",
    "AdaptiveNODE",
    "BackendUnavailable",
    "Batches",
    "Chebyshev",
    "Columns",
    "Constant",
    "Controller",
    "Cosine",
    "CosineField",
    "Costate",
    "CrossEntropy",
    "DataControlledNODE",
    "Divergence",
    "Fourier",
    "FunctionSpace",
    "GalNODE",
    "Galerkin",
    "GaussianRBF",
    "Golden",
    "GradientResult",
    "Gram",
    "Harmonic",
    "Hat",
    "Identity",
    "InvalidArgument",
    "Kinetic",
    "Legendre",
    "Linear",
    "LinearFunctional",
    "Loss",
    "Model",
    "Monomial",
    "NeuralODE",
    "NonFiniteState",
    "NotEnoughDigits",
    "NotProvable",
    "NumericalError",
    "Observations",
    "ParameterNorm",
    "PartialInput",
    "PiecewiseConstant",
    "Problem",
    "ProblemFileError",
    "ProgramFailed",
    "RefnodeError",
    "Run",
    "RunningArgs",
    "SecondOrderNODE",
    "Solution",
    "Solver",
    "SquaredError",
    "SquaredNorm",
    "Stacked",
    "StackedNODE",
    "StandardNormal",
    "Stats",
    "StepDecay",
    "StepUnderflow",
    "Tableau",
    "TooManySteps",
    "TorchdynChebychev",
    "TorchdynFourier",
    "TorchdynGaussianRBF",
    "TorchdynMultiquadRBF",
    "TorchdynPolynomial",
    "TorchdynVanillaRBF",
    "Tracking",
    "TrainingDiverged",
    "Truth",
    "UnreliableGradient",
    "UserField",
    "UserLoss",
    "UserRunning",
    "Warmup",
    "ZeroAugment",
    "assert_gradient",
    "catalogue",
    "certify",
    "check_field",
    "compare",
    "costate",
    "digits",
    "digits_left",
    "export_weights",
    "fit",
    "golden",
    "grade",
    "gradient",
    "gram",
    "hand_on",
    "load_checkpoint",
    "load_model",
    "load_problem",
    "method_table",
    "no_cotangent",
    "observe",
    "reference",
    "riesz",
    "save_model",
    "save_result",
    "solve",
]
