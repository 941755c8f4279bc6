import sys; sys.argv=['x']; sys.path.insert(0,'/tmp/h/files/tests/e2e/faults'); sys.path.insert(0,'/tmp/h/files/tests/e2e/support')
import os, test_calls, program, faults, errno
class T(test_calls.Calls):
    def test_x(self):
        f=[os.path.join(self.output,"shards")]
        print(self.count(f))
        for call in ("open","read"):
          for at in range(1,14):
            kept=self.begin(missing=2)
            r=program.run(["run", self.grid, "-o", self.output], env=faults.environment(f,call,at,errno.EIO))
            print(call,at,r.code,[l for l in r.err.splitlines() if 'damag' in l or 'error' in l][:1], [n for n in os.listdir(f[0]) if 'damaged' in n][:1])
import unittest
s=unittest.TestSuite([T('test_x')]); unittest.TextTestRunner().run(s)
