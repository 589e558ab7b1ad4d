import test_postgres_store as t, time, cProfile, pstats
def test_q(database, tmp_path):
    a=time.time()
    t.hazards.build(str(tmp_path / "one"), large=False)
    b=time.time(); print("build",b-a)
    p=cProfile.Profile(); p.enable()
    t.move(tmp_path / "one", database.url)
    p.disable()
    c=time.time(); print("in",c-b)
    t.move(database.url, tmp_path / "two")
    d=time.time(); print("out",d-c)
    t.comparison(tmp_path / "one", tmp_path / "two"); print("cmp", time.time()-d)
    pstats.Stats(p).sort_stats("cumtime").print_stats(18)
