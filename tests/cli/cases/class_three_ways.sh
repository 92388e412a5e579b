keyhole align random:test_vit --draws 0 --topk 2 --classes "207,n02099601,golden retriever"
