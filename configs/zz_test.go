package configs
import ("testing";"strings";"time";"fmt")
func TestHostile(t *testing.T){
 for n,s:=range map[string]string{
  "dots":strings.Repeat("a.",990)+"a=1",
  "masterdots":"[masters]\n"+strings.Repeat("a.",990)+"a=1",
  "inl":"a="+strings.Repeat("{a=",990)+"1"+strings.Repeat("}",990),
  "inlnl":strings.Repeat("{a=\n",0)+"a="+strings.Repeat("{\na=",990)+"1"+strings.Repeat("}",990),
 } {
  st:=time.Now()
  _,err:=Decode("f",[]byte(s))
  fmt.Printf("%s %v %.150v\n",n,time.Since(st),err)
 }
 for n,s:=range map[string]string{
  "flow":strings.Repeat("[",100000), "map":strings.Repeat("{a: ",60000), "seq":strings.Repeat("- ",100000),
  "anchors":"a: &a ["+strings.Repeat("x,",40)+"]\nb: &b ["+strings.Repeat("*a,",60)+"]\nc: &c ["+strings.Repeat("*b,",60)+"]\nd: ["+strings.Repeat("*c,",60)+"]\nspec: *c",
  "keys":strings.Repeat("? a\n",60000), "indent": func() string{var b strings.Builder; for i:=0;i<600;i++{b.WriteString(strings.Repeat(" ",i)+"a:\n")}; return b.String()}(),
 } {
  st:=time.Now()
  _,err:=findContainer([]byte(s),"etcd")
  fmt.Printf("%s %v %.150v\n",n,time.Since(st),err)
 }
}
