"""The phone sets, against a table written out by hand from Lee & Hon 1989, table I."""

from __future__ import annotations

from speechscope.corpus.phones import PHONES_39, PHONES_48, TIMIT_61, TO_39, TO_48

# One line per scored class: "39: 48=61,61 48=61 …".
ORACLE = """
iy: iy=iy
ih: ih=ih ix=ix
eh: eh=eh
ae: ae=ae
ah: ah=ah ax=ax,ax-h
uw: uw=uw,ux
uh: uh=uh
aa: aa=aa ao=ao
ey: ey=ey
ay: ay=ay
oy: oy=oy
aw: aw=aw
ow: ow=ow
er: er=er,axr
l: l=l el=el
r: r=r
y: y=y
w: w=w
m: m=m,em
n: n=n,nx en=en
ng: ng=ng,eng
dx: dx=dx
jh: jh=jh
ch: ch=ch
z: z=z
s: s=s
sh: sh=sh zh=zh
hh: hh=hh,hv
v: v=v
f: f=f
dh: dh=dh
th: th=th
b: b=b
p: p=p
d: d=d
t: t=t
g: g=g
k: k=k
sil: cl=pcl,tcl,kcl vcl=bcl,dcl,gcl epi=epi sil=h#,pau
"""


def oracle() -> list[tuple[str, str, str]]:
    """(61, 48, 39) label triples of the table above."""
    triples = []
    for line in ORACLE.strip().splitlines():
        folded, classes = line.split(": ")
        for group in classes.split():
            phone, labels = group.split("=")
            triples += [(label, phone, folded) for label in labels.split(",")]
    return triples


def test_sets_have_61_48_and_39_distinct_labels() -> None:
    assert [len(TIMIT_61), len(PHONES_48), len(PHONES_39)] == [61, 48, 39]
    assert [len(set(TIMIT_61)), len(set(PHONES_48)), len(set(PHONES_39))] == [61, 48, 39]


def test_foldings_follow_table_1_of_lee_and_hon() -> None:
    expected_48 = {label: phone for label, phone, _ in oracle()}
    assert expected_48 | {"q": None} == TO_48
    assert {phone: folded for _, phone, folded in oracle()} == TO_39


def test_foldings_cover_their_sets() -> None:
    assert set(TO_48) == set(TIMIT_61)
    assert set(TO_48.values()) - {None} == set(PHONES_48) == set(TO_39)
    assert set(TO_39.values()) == set(PHONES_39)


def test_only_the_glottal_stop_is_dropped() -> None:
    assert [label for label in TIMIT_61 if TO_48[label] is None] == ["q"]


def test_class_order_is_fixed() -> None:
    # Class indices are stored in corpora and checkpoints.
    assert PHONES_48[:5] == ("iy", "ih", "eh", "ae", "ix")
    assert PHONES_48[-4:] == ("cl", "vcl", "epi", "sil")
    assert PHONES_39[:5] == ("iy", "ih", "eh", "ae", "ah")
    assert PHONES_39[-1] == "sil"
