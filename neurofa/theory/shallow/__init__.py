"""Online learning of a student with one hidden layer from a teacher, by dfa or by bp: align, then memorise.

The teacher's output is y = sum_m A_m g(B_m.x / sqrt N), the student's yhat = sum_k v_k g(w_k.x / sqrt N), for inputs
x ~ N(0, I) that are fresh at every step. With e = y - yhat, dfa changes

    w_k += (eta / sqrt N) F_k g'(lambda_k) e x        (bp: v_k in place of F_k)
    v_k += (eta / N) g(lambda_k) e

and time is t = steps / N. For N to infinity the overlaps Q, R and the output weights v follow ordinary differential
equations (:mod:`.flow`, solved in :mod:`.solution`); the same steps are simulated in :mod:`.simulator`, hardware
included (:mod:`.hardware`). First the student *aligns*: from small weights v grows along F (:mod:`.early`). Then it
*memorises*: its units specialise, and it converges to a solution whose v has the signs of F (:mod:`.degeneracy`).

Source: Refinetti, d'Ascoli, Ohana and Goldt 2021, arXiv 2011.12428.
"""
