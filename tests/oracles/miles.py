"""MILES a second time: plain, slow, and written from the paper's pseudo-code, to check the library against.

Nothing here is shared with the library. The numbers in the comments are the lines of Algorithm 1.
"""

from __future__ import annotations


class AlgorithmOne:
    """Algorithm 1 for modalities A and B, with its own variables: learning rates, no multipliers.

    ``line`` is the assignment of the pseudo-code that ran last (9, 13, 15, 18 or 20), or ``None`` for a multimodal score without signal,
    of which Algorithm 1 does not speak: nothing changes then.

    With ``restore_other`` the modality that is not slowed has the global rate, the second reading of "only one modality's learning rate
    is adjusted per epoch".
    """

    def __init__(self, tau, mu, alpha, restore_other=False):
        self.tau = tau
        self.mu = mu
        self.restore_other = restore_other
        self.delta_ab = 0.0  # 1
        self.alpha_ab = alpha
        self.alpha_a = alpha
        self.alpha_b = alpha
        self.line = None

    def epoch(self, s, s_a, s_b):
        """Run lines 5 to 23 on one epoch's validation scores."""
        if s <= 0:
            self.line = None
            return
        u_a = (s - s_b) / s  # 5
        u_b = (s - s_a) / s  # 6
        self.delta_ab = abs(u_a - u_b)  # 7
        if self.delta_ab <= self.tau or (u_a < 0 and u_b < 0):  # 8
            self.alpha_a = self.alpha_ab
            self.alpha_b = self.alpha_ab
            self.line = 9
        else:
            if u_a > 0 and u_b < 0:  # 12
                self.slow_a()
                self.line = 13
            elif u_a < 0 and u_b > 0:  # 14
                self.slow_b()
                self.line = 15
            else:
                if u_a < u_b:  # 17
                    self.slow_b()
                    self.line = 18
                else:
                    self.slow_a()
                    self.line = 20

    def slow_a(self):
        self.alpha_a = self.mu * self.alpha_ab
        if self.restore_other:
            self.alpha_b = self.alpha_ab

    def slow_b(self):
        self.alpha_b = self.mu * self.alpha_ab
        if self.restore_other:
            self.alpha_a = self.alpha_ab


class Pairwise:
    """Any number of modalities: each unordered pair runs Algorithm 1 by itself, and a modality has the smallest rate of its pairs."""

    def __init__(self, names, tau, mu, alpha, restore_other=False):
        self.names = list(names)
        self.pairs = []
        for i in range(len(self.names)):
            for j in range(len(self.names)):
                if i < j:
                    self.pairs.append((self.names[i], self.names[j], AlgorithmOne(tau, mu, alpha, restore_other)))

    def epoch(self, s, heads):
        """Run every pair on one epoch's scores."""
        for first, second, algorithm in self.pairs:
            algorithm.epoch(s, heads[first], heads[second])

    def alpha(self, name):
        """Return the learning rate of a modality."""
        rates = []
        for first, second, algorithm in self.pairs:
            if name == first:
                rates.append(algorithm.alpha_a)
            if name == second:
                rates.append(algorithm.alpha_b)
        return min(rates)
